import assert from "node:assert/strict";
import { test } from "node:test";

import { Backoff } from "../../static/notifications/backoff.js";
import { absoluteTime, formatCount, relativeTime, safeLink, toInteger, toLevel } from "../../static/notifications/format.js";
import { Positions } from "../../static/notifications/positions.js";
import { decodeFrame, encodeFrame, isPing, isTerminal } from "../../static/notifications/protocol.js";
import { MemoryStorage } from "./browser.js";

test("delays grow up to the longest, each with full jitter, until a reset", () => {
  const backoff = new Backoff(500, 20_000, () => 1);
  assert.deepEqual(Array.from({ length: 8 }, () => backoff.next()), [
    500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000,
  ]);
  backoff.reset();
  assert.equal(backoff.next(), 500);
  assert.equal(new Backoff(500, 20_000, () => 0).next(), 0);
});

test("a frame has one command or reply per line", () => {
  assert.equal(encodeFrame([{ id: 1, a: "\n" }, { id: 2 }]), '{"id":1,"a":"\\n"}\n{"id":2}');
  assert.deepEqual(decodeFrame('{"id":1}\n{}\n'), [{ id: 1 }, {}]);
  assert.deepEqual([{}, { id: 1 }].map(isPing), [true, false]);
});

test("a line that is not a reply is an error", () => {
  for (const frame of ["no json", "[]", "null", "1", '{"id":1}\nnull']) {
    assert.throws(() => decodeFrame(frame), SyntaxError, frame);
  }
});

test("close codes decide whether the client reconnects", () => {
  const terminal = [1009, 3500, 3503, 3999, 4500, 4999];
  const temporary = [1000, 1001, 1006, 1012, 3000, 3001, 3012, 3499, 4000, 4499, 5000];
  assert.deepEqual(terminal.filter((code) => !isTerminal(code)), []);
  assert.deepEqual(temporary.filter(isTerminal), []);
});

test("links are paths, relative references or http(s) URLs", () => {
  const good = ["/orders/7/", "orders/7", "?page=2", "#top", "https://a.example/x", "HTTP://a.example"];
  const bad = [
    "javascript:alert(1)", "JavaScript:alert(1)", "java\tscript:alert(1)", " javascript:alert(1)",
    "data:text/html,x", "//evil.example", "/\\evil.example", "\\\\evil.example", "https:evil",
    "http:///", "mailto:a@b.example", "", null, undefined, 7,
  ];
  assert.deepEqual(good.map(safeLink), good);
  assert.deepEqual(bad.filter(safeLink), []);
});

test("counts are short, and times are never in the future", () => {
  assert.deepEqual([1, 99, 100].map(formatCount), ["1", "99", "99+"]);
  assert.deepEqual([toLevel("error"), toLevel("constructor"), toLevel(undefined)], ["error", "info", "info"]);
  const now = Date.parse("2026-11-23T12:00:00Z");
  const ago = (seconds) => relativeTime(new Date(now - seconds * 1000), now, "en");
  assert.deepEqual([ago(-90), ago(5), ago(119), ago(7200), ago(86_400)], [
    "now", "now", "1 minute ago", "2 hours ago", "yesterday",
  ]);
  assert.equal(relativeTime(new Date("nonsense"), now, "en"), "");
  assert.equal(relativeTime(new Date(now - 180_000), now, "de"), "vor 3 Minuten");
  // As Django writes them: the digits 0 to 9.
  assert.match(relativeTime(new Date(now - 180_000), now, "ar"), /3 دقائق/);
  assert.match(absoluteTime(new Date(now), "ar"), /2026/);
});

test("integers in attributes are ASCII digits, in every language", () => {
  assert.deepEqual(["0", "7", "1234", "9007199254740991"].map(toInteger), [0, 7, 1234, 2 ** 53 - 1]);
  const others = ["1,234", "1.234", "1 234", "1\u00a0234", "1'234", "٣", "１", "-1", "1e3", "0x10", "", " 7", undefined];
  assert.deepEqual(others.map(toInteger).filter((number) => number !== undefined), []);
  assert.equal(toInteger("9007199254740993"), undefined);
});

test("positions belong to one user of one endpoint", () => {
  const storage = new MemoryStorage();
  const own = new Positions("/connection/websocket", "7", storage);
  own.set("broadcast", { epoch: "a", offset: 3 });
  own.save();
  const read = (endpoint, user) => new Positions(endpoint, user, storage).get("broadcast");
  assert.deepEqual(read("/connection/websocket", "7"), { epoch: "a", offset: 3 });
  assert.equal(read("/connection/websocket", "8"), undefined);
  assert.equal(read("/push/connection/websocket", "7"), undefined);
});

test("a tab that lags does not move a stored position back", () => {
  const storage = new MemoryStorage();
  const [behind, ahead] = [new Positions("/", "7", storage), new Positions("/", "7", storage)];
  ahead.set("user:7", { epoch: "a", offset: 9 });
  ahead.save();
  behind.set("user:7", { epoch: "a", offset: 4 });
  behind.save();
  assert.equal(new Positions("/", "7", storage).get("user:7").offset, 9);
  assert.equal(behind.get("user:7").offset, 4);

  behind.replace("user:7", { epoch: "a", offset: 2 });
  behind.save();
  assert.equal(new Positions("/", "7", storage).get("user:7").offset, 2);
});

test("without a usable storage, positions are kept in memory", () => {
  const broken = { getItem: () => "{not json", setItem: () => { throw new Error("full"); } };
  for (const storage of [null, broken]) {
    const positions = new Positions("/", "7", storage);
    positions.set("user:7", { epoch: "a", offset: 1 });
    positions.save();
    assert.equal(positions.get("user:7").offset, 1);
  }
});

test("malformed stored positions are not sent", () => {
  const storage = new MemoryStorage();
  storage.setItem("notifications:/:7", '{"a":{"epoch":1,"offset":1},"b":{"epoch":"x","offset":-1},"c":null}');
  assert.deepEqual(new Positions("/", "7", storage).entries(), []);
});
