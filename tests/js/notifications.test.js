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

test("publications shortly after a count of the server trigger a recount", async () => {
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

test("publications long after a count trigger no recount", () => {
  const { counts } = follow(0);
  const socket = greet({ data: { unread: 5, user: { id: "7" } }, ...own() });
  mock.timers.tick(10_000);
  socket.take(push("user:7", 1));
  mock.timers.tick(10_000);
  assert.deepEqual(counts, [5, 6]);
  assert.equal(socket.sent.filter((command) => command.rpc?.method === "unread").length, 0);
});

test("a reconnect emits a sync", () => {
  const { notifications } = follow(0);
  const changes = [];
  notifications.on("change", ({ type }) => changes.push(type));
  greet().end(1006);
  assert.deepEqual(changes, []);
  mock.timers.tick(500);
  greet();
  assert.deepEqual(changes, ["sync"]);
});

test("a topic that another device joins is subscribed to", () => {
  follow(0);
  const socket = greet({ data: { user: { id: "7" } } });
  const join = { type: "join", ids: [], channel: "topic:news", unread: 0 };
  socket.take({ push: { message: { data: join } } });
  assert.deepEqual(socket.last("subscribe").subscribe, { channel: "topic:news" });
});

test("a change by another device brings its count, so no request is sent", () => {
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

test("publications that overtake a count trigger a recount", () => {
  follow(3);
  const socket = greet({ data: { unread: 3, user: { id: "7" } }, ...own({ offset: 4 }) });
  mock.timers.tick(20_000);
  socket.take(push("user:7", 5), told({ type: "read", ids: [1], unread: 2, tops: { "user:7": 4 } }));
  mock.timers.tick(250);
  assert.equal(socket.last("rpc").rpc.method, "unread");
});

test("the tops of a count are valid until the next count", () => {
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

test("a sync with a known count fetches nothing", () => {
  const { notifications } = follow(3);
  const changes = [];
  notifications.on("change", ({ type }) => changes.push(type));
  const socket = greet({ data: { unread: 3, user: { id: "7" } }, ...own() });
  socket.take(told({ type: "read", ids: [1], unread: 2 }), told({ type: "sync", ids: [], unread: 2 }));
  assert.deepEqual(changes, ["read"]);
  socket.take(told({ type: "sync", ids: [], unread: 4 }));
  assert.deepEqual(changes, ["read", "sync"]);
});

test("a count that differs from the page's emits a sync", () => {
  const { notifications } = follow(3);
  const changes = [];
  notifications.on("change", ({ type }) => changes.push(type));
  greet({ data: { unread: 2, user: { id: "7" } }, ...own() });
  assert.deepEqual(changes, ["sync"]);
});

test("read_all includes entries up to the server's marks, and no later ones", () => {
  const marks = { "user:7": 5 };
  const reached = (channel, offset) => reaches({ type: "read_all", ids: [], marks }, { channel, offset });
  assert.deepEqual([reached("user:7", 5), reached("user:7", 6)], [true, false]);
  assert.deepEqual([reached("broadcast", 9), reached(undefined, undefined)], [true, true]);
  assert.equal(reaches({ type: "read_all", ids: [] }, { channel: "user:7", offset: 9 }), true);
});

test("notifications that arrive during read_all emit a sync", async () => {
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

test("a recount with a temporary error is repeated", async () => {
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

test("a page of another user has nothing left of the first one", async () => {
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
