import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { browser } from "./browser.js";
import { KEY, follow, greet, own, publication, push, settled, start, storage } from "./talk.js";

const INTERNAL = { code: 100, message: "internal server error", temporary: true };
const TOO_MANY = { code: 111, message: "too many requests", temporary: true };
const FORBIDDEN = { code: 103, message: "permission denied" };

const count = (socket, name) => socket.sent.filter((command) => name in command).length;

/** A client with the topic's position at offset 4, whose subscribe has not been answered. */
function waiting() {
  const kept = storage();
  kept.setItem(KEY, JSON.stringify({ "topic:news": { epoch: "t", offset: 4 } }));
  const started = start({ storage: kept, topics: ["topic:news"] });
  const position = () => JSON.parse(kept.getItem(KEY))["topic:news"].offset;
  return { ...started, position, socket: greet() };
}

const recovered = (...offsets) => ({
  epoch: "t",
  offset: offsets.at(-1),
  was_recovering: true,
  recovered: true,
  publications: offsets.map(publication),
});

/** Advances the clock in small steps, for code that awaits promises and timers in turn. */
async function pass(milliseconds, step = 500) {
  await settled();
  for (let left = milliseconds; left > 0; left -= step) {
    mock.timers.tick(Math.min(step, left));
    await settled();
  }
}

/** Milliseconds: longer than every pause, shorter than the time until a ping is missed. */
const LONG = 25_000;

test("P1: a late reply to subscribe is handled", async () => {
  const { seen, socket, position } = waiting();
  const { id } = socket.last("subscribe");
  await pass(5000);
  socket.take({ id, subscribe: recovered(5, 6) });
  socket.take(push("topic:news", 7));
  assert.deepEqual(seen, ["topic:news@5", "topic:news@6", "topic:news@7"]);
  assert.equal(position(), 7);
  await pass(LONG);
  assert.equal(browser.sockets.length, 1);
});

test("P1: the position does not move before the reply to a subscribe", async () => {
  const { seen, socket, position } = waiting();
  await pass(5000);
  socket.take(push("topic:news", 7));
  await pass(1000);
  assert.deepEqual(seen, []);
  assert.equal(position(), 4);
  assert.equal(count(socket, "rpc"), 0);
});

test("P1: after a lost reply to subscribe, a new connection resumes at the old position", async () => {
  const { client, seen, socket } = waiting();
  const reasons = [];
  client.on("connecting", ({ code }) => reasons.push(code));
  await pass(5500);
  assert.equal(count(socket, "subscribe"), 2);
  socket.take({ id: socket.last("subscribe").id, error: { code: 105, message: "already subscribed" } });
  assert.deepEqual(reasons, [3]);
  await pass(1000);
  const next = greet();
  assert.equal(next.last("subscribe").subscribe.offset, 4);
  next.take({ id: next.last("subscribe").id, subscribe: recovered(5, 6, 7) });
  assert.deepEqual(seen, ["topic:news@5", "topic:news@6", "topic:news@7"]);
});

test("a late reply to subscribe is ignored after an unsubscribe", async () => {
  const { client, seen, socket, position } = waiting();
  const { id } = socket.last("subscribe");
  await pass(5000);
  const unsubscribed = client.unsubscribe("topic:news");
  socket.take({ id, subscribe: recovered(5, 6) }, { id: socket.last("unsubscribe").id, unsubscribe: {} });
  await unsubscribed;
  assert.deepEqual(seen, []);
  assert.equal(position(), 4);
  await pass(LONG);
  assert.equal(count(socket, "subscribe"), 1);
});

test("P1: a connect without a timely reply is repeated from the same position", async () => {
  const kept = storage();
  kept.setItem(KEY, JSON.stringify({ "user:7": { epoch: "a", offset: 4 } }));
  const { seen } = start({ storage: kept });
  const first = browser.socket;
  first.open();
  await pass(5000);
  assert.equal(first.closed, true);
  assert.equal(first.onmessage, null);
  await pass(500);
  const next = greet(own({ offset: 5, was_recovering: true, recovered: true, publications: [publication(5)] }));
  assert.notEqual(next, first);
  assert.equal(next.last("connect").connect.subs["user:7"].offset, 4);
  assert.deepEqual(seen, ["user:7@5"]);
});

test("a late reply to a change updates the entries and the count", async () => {
  const { notifications, counts } = follow(3);
  const changes = [];
  notifications.on("change", ({ type, ids }) => changes.push([type, ids]));
  const socket = greet({ data: { unread: 3, user: { id: "7" } } });
  const read = notifications.read([17]);
  const { id } = socket.last("rpc");
  mock.timers.tick(5000);
  await assert.rejects(read, { message: "timeout" });
  assert.deepEqual(changes, []);
  socket.take({ id, rpc: { data: { ids: [17], unread: 2 } } });
  assert.deepEqual(changes, [["read", [17]]]);
  assert.deepEqual(counts, [2]);
});

test("a late reply to leave is handled", async () => {
  const { notifications } = follow(3);
  const changes = [];
  notifications.on("change", ({ type, channel }) => changes.push([type, channel]));
  const socket = greet({ data: { unread: 3, user: { id: "7" } } });
  const left = notifications.leave("topic:news");
  mock.timers.tick(5000);
  await assert.rejects(left, { message: "timeout" });
  socket.take({ id: socket.last("rpc").id, rpc: { data: { unread: 1 } } });
  assert.deepEqual(changes, [["leave", "topic:news"]]);
});

test("a subscribe with a temporary error is retried with growing pauses", async () => {
  const { client, seen, socket } = waiting();
  const told = [];
  client.on("error", ({ type, error }) => told.push([type, error.code]));
  const refuse = (error) => socket.take({ id: socket.last("subscribe").id, error });
  for (const [attempt, pause] of [500, 1000, 2000].entries()) {
    refuse(attempt % 2 ? TOO_MANY : INTERNAL);
    await pass(pause - 1);
    assert.equal(count(socket, "subscribe"), attempt + 1);
    await pass(1);
    assert.equal(count(socket, "subscribe"), attempt + 2);
  }
  assert.equal(socket.last("subscribe").subscribe.offset, 4);
  socket.take({ id: socket.last("subscribe").id, subscribe: recovered(5) });
  await pass(LONG);
  assert.equal(count(socket, "subscribe"), 4);
  assert.deepEqual(seen, ["topic:news@5"]);
  assert.deepEqual(told, [["subscribe", 100], ["subscribe", 111], ["subscribe", 100]]);
});

test("pauses between subscribe attempts are random, and at most 20 s long", async () => {
  mock.method(Math, "random", () => 0.5);
  const { socket } = waiting();
  const pauses = [];
  for (let attempt = 1; attempt < 10; attempt += 1) {
    socket.take({}, { id: socket.last("subscribe").id, error: INTERNAL });
    await settled();
    const before = Date.now();
    for (let left = 3000; left && count(socket, "subscribe") === attempt; left -= 1) mock.timers.tick(10);
    pauses.push(Date.now() - before);
  }
  assert.deepEqual(pauses, [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000, 10_000]);
});

test("a refused subscribe is reported and not retried", async () => {
  const { client, socket } = waiting();
  const ended = [];
  client.on("unsubscribed", ({ channel, code }) => ended.push([channel, code]));
  socket.take({ id: socket.last("subscribe").id, error: FORBIDDEN });
  await pass(LONG);
  assert.equal(count(socket, "subscribe"), 1);
  assert.deepEqual(ended, [["topic:news", 103]]);
  socket.end(1006);
  await pass(500);
  assert.equal(count(greet(), "subscribe"), 0);
});

test("subscribe attempts end with the connection, and start again on the next one", async () => {
  const { socket } = waiting();
  socket.take({ id: socket.last("subscribe").id, error: INTERNAL });
  await settled();
  socket.end(1006);
  await pass(500);
  const next = greet();
  assert.equal(count(next, "subscribe"), 1);
  next.take({ id: next.last("subscribe").id, subscribe: recovered(5) });
  await pass(LONG);
  assert.equal(count(next, "subscribe"), 1);
  assert.equal(count(socket, "subscribe"), 1);
});

test("an unsubscribe push with a temporary code is followed by a subscribe", async () => {
  const { seen, socket } = waiting();
  socket.take({ id: socket.last("subscribe").id, subscribe: recovered(5) });
  socket.take({ push: { channel: "topic:news", unsubscribe: { code: 2500, reason: "insufficient state" } } });
  socket.take(push("topic:news", 8));
  await pass(500);
  assert.equal(socket.last("subscribe").subscribe.offset, 5);
  socket.take({ id: socket.last("subscribe").id, subscribe: recovered(6, 7, 8) });
  assert.deepEqual(seen, [5, 6, 7, 8].map((offset) => `topic:news@${offset}`));
});

test("a call with a temporary error is sent up to five times", async () => {
  const { client } = start();
  const socket = greet();
  const refuse = () => socket.take({}, { id: socket.last("rpc").id, error: INTERNAL });
  const answered = client.rpc("read", { ids: [1] });
  refuse();
  await pass(500);
  assert.equal(count(socket, "rpc"), 2);
  assert.deepEqual(socket.sent.filter(({ rpc }) => rpc).map(({ rpc }) => rpc.data), [{ ids: [1] }, { ids: [1] }]);
  socket.take({ id: socket.last("rpc").id, rpc: { data: { unread: 0 } } });
  assert.deepEqual(await answered, { unread: 0 });

  const before = count(socket, "rpc");
  const given = assert.rejects(client.rpc("read", { ids: [1] }), { code: 100, temporary: true });
  for (const pause of [500, 1000, 2000, 4000, 8000]) {
    refuse();
    await pass(pause);
  }
  await given;
  assert.equal(count(socket, "rpc") - before, 5);
});

test("a call that is refused or gets no reply is sent once", async () => {
  const { client } = start();
  const socket = greet();
  const refused = assert.rejects(client.rpc("read", { ids: [1] }), { code: 103 });
  socket.take({ id: socket.last("rpc").id, error: FORBIDDEN });
  await refused;
  const unanswered = assert.rejects(client.rpc("read", { ids: [1] }), { message: "timeout" });
  await pass(LONG);
  await unanswered;
  assert.equal(count(socket, "rpc"), 2);
});

test("a call is not repeated on the next connection", async () => {
  const { client } = start();
  const socket = greet();
  const refused = assert.rejects(client.rpc("read", { ids: [1] }), { message: "not connected" });
  socket.take({ id: socket.last("rpc").id, error: INTERNAL });
  await settled();
  client.disconnect();
  client.connect();
  const next = greet();
  await pass(500);
  await refused;
  await pass(LONG);
  assert.equal(count(next, "rpc"), 0);
});

test("an acknowledgement with a temporary error is repeated", async () => {
  start();
  const socket = greet(own());
  socket.take(push("user:7", 1));
  await pass(300);
  socket.take({ id: socket.last("rpc").id, error: INTERNAL });
  await pass(500);
  assert.equal(count(socket, "rpc"), 2);
  assert.deepEqual(socket.last("rpc").rpc, { method: "ack", data: { channel: "user:7", offset: 1 } });
});

test("a connect with a temporary error is repeated on a new socket, as in the SDKs", async () => {
  const { client } = start();
  const told = [];
  client.on("error", ({ type, error }) => told.push([type, error.code]));
  for (const [attempt, pause] of [500, 1000, 2000].entries()) {
    const socket = browser.socket;
    socket.open();
    socket.take({ id: socket.last("connect").id, error: TOO_MANY });
    assert.equal(socket.closed, true);
    assert.equal(count(socket, "connect"), 1);
    await pass(pause - 1);
    assert.equal(browser.sockets.length, attempt + 1);
    await pass(1);
    assert.equal(browser.sockets.length, attempt + 2);
  }
  greet();
  assert.equal(client.state, "connected");
  assert.deepEqual(told, [["connect", 111], ["connect", 111], ["connect", 111]]);
});
