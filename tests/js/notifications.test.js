import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { browser } from "./browser.js";
import { ENDPOINT, follow, greet, own, publication, push, settled } from "./talk.js";
import { reaches } from "../../static/notifications/notifications.js";

const told = (data) => ({ push: { message: { data } } });

test("the unread count follows publications, other devices and the server", () => {
  const { notifications, counts } = follow(1);
  const changes = [];
  notifications.on("change", ({ type, ids }) => changes.push([type, ids]));
  const socket = greet({
    data: { unread: 3, user: { id: "7" } },
    ...own({ offset: 1, recovered: true, publications: [publication(1)] }),
  });
  mock.timers.tick(20_000);
  socket.take(push("user:7", 2));
  socket.take({ push: { message: { data: { type: "read", ids: [2], unread: 3 } } } });
  // The page was rendered before the first of these was published.
  assert.deepEqual(changes, [["sync", []], ["read", [2]]]);
  assert.deepEqual(counts, [3, 4, 3]);
});

test("what arrives right after the server has counted may be counted already", async () => {
  const { counts } = follow(0);
  const socket = greet({ data: { unread: 5, user: { id: "7" } }, ...own() });
  socket.take(push("user:7", 1), push("user:7", 2));
  mock.timers.tick(250);
  const asked = socket.sent.filter((command) => command.rpc?.method === "unread");
  assert.equal(asked.length, 1);
  socket.take({ id: asked[0].id, rpc: { data: { unread: 5 } } });
  await new Promise(setImmediate);
  assert.deepEqual(counts, [5, 6, 7, 5]);
});

test("a count that is long known is not asked for again", () => {
  const { counts } = follow(0);
  const socket = greet({ data: { unread: 5, user: { id: "7" } }, ...own() });
  mock.timers.tick(10_000);
  socket.take(push("user:7", 1));
  mock.timers.tick(10_000);
  assert.deepEqual(counts, [5, 6]);
  assert.equal(socket.sent.filter((command) => command.rpc?.method === "unread").length, 0);
});

test("after an interruption everything is looked at again", () => {
  const { notifications } = follow(0);
  const changes = [];
  notifications.on("change", ({ type }) => changes.push(type));
  greet().end(1006);
  assert.deepEqual(changes, []);
  mock.timers.tick(500);
  greet();
  assert.deepEqual(changes, ["sync"]);
});

test("a topic that is joined elsewhere is read here too", () => {
  follow(0);
  const socket = greet({ data: { user: { id: "7" } } });
  const join = { type: "join", ids: [], channel: "topic:news", unread: 0 };
  socket.take({ push: { message: { data: join } } });
  assert.deepEqual(socket.last("subscribe").subscribe, { channel: "topic:news" });
});

test("a change elsewhere tells how far it has counted, and nothing is asked for", () => {
  const { counts } = follow(3);
  const socket = greet({ data: { unread: 3, user: { id: "7" } }, ...own({ offset: 4 }) });
  const tops = { "user:7": 6 };
  socket.take(push("user:7", 5), told({ type: "read", ids: [1], unread: 4, tops }));
  socket.take(push("user:7", 6), push("user:7", 7));
  mock.timers.tick(20_000);
  assert.deepEqual(counts, [4, 5]);
  assert.equal(socket.last("rpc").rpc.method, "ack");
  assert.equal(socket.sent.filter(({ rpc }) => rpc && rpc.method !== "ack").length, 0);
});

test("what has overtaken a count is counted again", () => {
  follow(3);
  const socket = greet({ data: { unread: 3, user: { id: "7" } }, ...own({ offset: 4 }) });
  mock.timers.tick(20_000);
  socket.take(push("user:7", 5), told({ type: "read", ids: [1], unread: 2, tops: { "user:7": 4 } }));
  mock.timers.tick(250);
  assert.equal(socket.last("rpc").rpc.method, "unread");
});

test("how far it was counted holds until the next count", () => {
  const { counts } = follow(3);
  let socket = greet({ data: { unread: 3, user: { id: "7" } }, ...own() });
  socket.take(told({ type: "read", ids: [1], unread: 2, tops: { "user:7": 6 } }));
  socket.take(told({ type: "read", ids: [2], unread: 1 }));
  socket.take(push("user:7", 1));
  assert.deepEqual(counts, [2, 1, 2]);
  socket.take(told({ type: "read", ids: [2], unread: 1, tops: { "user:7": 6 } }));
  socket.end(3010);
  mock.timers.tick(500);
  socket = greet({ data: { unread: 1, user: { id: "7" } }, ...own({ epoch: "b" }) });
  socket.take(push("user:7", 1));
  assert.deepEqual(counts, [2, 1, 2, 1, 2]);
});

test("a sync that tells what is known already is no reason to look again", () => {
  const { notifications } = follow(3);
  const changes = [];
  notifications.on("change", ({ type }) => changes.push(type));
  const socket = greet({ data: { unread: 3, user: { id: "7" } }, ...own() });
  socket.take(told({ type: "read", ids: [1], unread: 2 }), told({ type: "sync", ids: [], unread: 2 }));
  assert.deepEqual(changes, ["read"]);
  socket.take(told({ type: "sync", ids: [], unread: 4 }));
  assert.deepEqual(changes, ["read", "sync"]);
});

test("a count that differs from that of the page is a reason to look again", () => {
  const { notifications } = follow(3);
  const changes = [];
  notifications.on("change", ({ type }) => changes.push(type));
  greet({ data: { unread: 2, user: { id: "7" } }, ...own() });
  assert.deepEqual(changes, ["sync"]);
});

test("reading all reaches what the server says, and nothing that came later", () => {
  const marks = { "user:7": 5 };
  const reached = (channel, offset) => reaches({ type: "read_all", ids: [], marks }, { channel, offset });
  assert.deepEqual([reached("user:7", 5), reached("user:7", 6)], [true, false]);
  assert.deepEqual([reached("broadcast", 9), reached(undefined, undefined)], [true, true]);
  assert.equal(reaches({ type: "read_all", ids: [] }, { channel: "user:7", offset: 9 }), true);
});

test("what came while all was being read is looked for", async () => {
  const { notifications } = follow(3);
  const changes = [];
  notifications.on("change", ({ type }) => changes.push(type));
  const socket = greet({ data: { unread: 3, user: { id: "7" } }, ...own() });
  const done = notifications.readAll();
  socket.take(push("user:7", 5), { id: socket.last("rpc").id, rpc: { data: { unread: 1 } } });
  await done;
  assert.deepEqual(changes, ["read_all", "sync"]);
  assert.equal(notifications.unreadCount, 1);
});

test("a count that fails for now is asked for again", async () => {
  const { counts } = follow(0);
  const socket = greet({ data: { unread: 5, user: { id: "7" } }, ...own() });
  socket.take(push("user:7", 1));
  mock.timers.tick(250);
  for (let step = 0; step < 20; step += 1) {
    mock.timers.tick(500);
    await settled();
  }
  const asked = socket.sent.filter(({ rpc }) => rpc?.method === "unread");
  assert.equal(asked.length, 2);
  socket.take({ id: asked[1].id, rpc: { data: { unread: 5 } } });
  await settled();
  assert.deepEqual(counts, [5, 6, 5]);
});

test("on a page of another user nothing of the first one is left", async () => {
  const { client, notifications } = follow(3);
  const socket = greet({ data: { unread: 3, user: { id: "7" }, topics: ["topic:news"] }, ...own() });
  socket.take(push("user:7", 1));
  const pending = assert.rejects(notifications.list(), { message: "not connected" });
  client.become(ENDPOINT, "8", ["topic:own"]);
  notifications.begin(1);
  assert.equal(socket.closed, true);
  await pending;
  assert.equal(client.state, "disconnected");
  assert.equal(notifications.unreadCount, 1);

  client.connect();
  const reconnected = [];
  client.on("connected", (context) => reconnected.push(context.reconnected));
  const next = greet({ data: { unread: 1, user: { id: "8" }, topics: ["topic:own"] } });
  assert.deepEqual(next.last("connect").connect.subs, {});
  assert.deepEqual(next.last("subscribe").subscribe, { channel: "topic:own" });
  assert.equal(next.sent.filter(({ subscribe }) => subscribe).length, 1);
  assert.deepEqual(reconnected, [false]);
  mock.timers.tick(20_000);
  assert.equal(browser.sockets.length, 2);
});
