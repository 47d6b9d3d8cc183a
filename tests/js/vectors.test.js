import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { PONG, ProtocolError, decodeFrame, encodeFrame, isPing } from "../../static/notifications/protocol.js";

// The server's tests read the same file.
const vectors = JSON.parse(readFileSync(new URL("../wire/vectors.json", import.meta.url), "utf8"));
const from = (direction) => vectors.filter((vector) => vector.direction === direction);

test("replies of the server are decoded, alone and together in one frame", () => {
  const replies = from("server").map((vector) => vector.json);
  assert.ok(replies.length > 10);
  const lines = replies.map((reply) => JSON.stringify(reply));
  assert.deepEqual(lines.flatMap(decodeFrame), replies);
  assert.deepEqual(decodeFrame(lines.join("\n")), replies);
});

test("only the empty reply is a ping", () => {
  for (const { name, json, meaning } of from("server")) {
    assert.equal(isPing(json), meaning.event === "ping", name);
  }
});

test("errors keep their code and whether they are temporary", () => {
  const errors = from("server").filter((vector) => vector.meaning.event === "error");
  assert.ok(errors.length > 2);
  for (const { name, json, meaning } of errors) {
    const { code, message, temporary } = new ProtocolError(json.error);
    assert.deepEqual({ code, message, temporary }, {
      code: meaning.code, message: meaning.message, temporary: meaning.temporary,
    }, name);
  }
});

test("commands are encoded as the server decodes them", () => {
  const commands = from("client").map((vector) => vector.json);
  assert.ok(commands.length > 5);
  assert.deepEqual(encodeFrame(commands).split("\n").map((line) => JSON.parse(line)), commands);
  const pong = from("client").find((vector) => vector.meaning.command === "pong");
  assert.deepEqual(JSON.parse(PONG), pong.json);
});
