import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { browser, errors } from "./browser.js";
import { ENDPOINT, KEY, follow, greet, own, publication, push, settled, start, storage } from "./talk.js";
import { reaches } from "../../static/notifications/notifications.js";

test("it connects below the prefix, over TLS where the page came over TLS", () => {
  start();
  assert.equal(browser.socket.url, "wss://site.example/push/connection/websocket");
});

test("P3: duplicates are dropped by offset, what is new comes in order", () => {
  const { seen } = start();
  const socket = greet(own({ offset: 2, recovered: true, publications: [publication(1), publication(2)] }));
  socket.take(push("user:7", 2), push("user:7", 3), push("user:7", 3), push("user:7", 5));
  socket.take(push("user:7", 4), push("group:1", 1));
  assert.deepEqual(seen, ["user:7@1", "user:7@2", "user:7@3", "user:7@5"]);
});

test("positions are kept after the handlers ran, and sent when it connects again", () => {
  const kept = storage();
  const { client } = start({ storage: kept });
  const during = [];
  client.on("publication", () => during.push(kept.getItem(KEY)));
  greet(own({ offset: 1 })).take(push("user:7", 2));
  assert.deepEqual(JSON.parse(during[0]), { "user:7": { epoch: "a", offset: 1 } });

  start({ storage: kept });
  browser.socket.open();
  assert.deepEqual(browser.socket.last("connect").connect.subs, {
    "user:7": { recover: true, epoch: "a", offset: 2 },
  });
});

test("a handler that throws is reported and holds nothing up", () => {
  const { client, seen } = start();
  client.on("publication", () => {
    throw new Error("application");
  });
  greet(own()).take(push("user:7", 1), push("user:7", 2));
  assert.deepEqual(seen, ["user:7@1", "user:7@2"]);
  assert.equal(errors.length, 2);
});

test("a new epoch begins anew", () => {
  const { seen } = start();
  greet(own({ offset: 9 })).end(1006);
  mock.timers.tick(500);
  greet(own({ epoch: "b", offset: 1, was_recovering: true })).take(push("user:7", 2));
  assert.deepEqual(seen, ["user:7@2"]);
});

test("what cannot be recovered is told, and the server's position is taken", () => {
  const kept = storage();
  kept.setItem(KEY, JSON.stringify({ "user:7": { epoch: "a", offset: 90 } }));
  const { client } = start({ storage: kept });
  const lost = [];
  client.on("subscribed", ({ channel, wasRecovering, recovered }) =>
    lost.push([channel, wasRecovering && !recovered]),
  );
  greet(own({ offset: 5, was_recovering: true }));
  assert.deepEqual(lost, [["user:7", true]]);
  assert.equal(JSON.parse(kept.getItem(KEY))["user:7"].offset, 5);
});

test("pings are answered, and one acknowledgement follows the last publication", () => {
  start();
  const socket = greet(own());
  socket.take({});
  assert.deepEqual(socket.sent.at(-1), {});
  socket.take(push("user:7", 1));
  mock.timers.tick(200);
  socket.take(push("user:7", 2));
  mock.timers.tick(299);
  assert.equal(socket.last("rpc"), undefined);
  mock.timers.tick(1);
  assert.deepEqual(socket.last("rpc").rpc, { method: "ack", data: { channel: "user:7", offset: 2 } });
});

test("missing pings make it connect again", () => {
  start();
  const socket = greet();
  mock.timers.tick(34_999);
  assert.equal(socket.closed, false);
  mock.timers.tick(1);
  assert.equal(socket.closed, true);
  mock.timers.tick(500);
  assert.equal(browser.sockets.length, 2);
});

test("it backs off, and forgets after a connection that lasted", () => {
  start();
  const opened = () => browser.sockets.length;
  browser.socket.end(1006);
  mock.timers.tick(500);
  assert.equal(opened(), 2);
  browser.socket.end(1006);
  mock.timers.tick(999);
  assert.equal(opened(), 2);
  mock.timers.tick(1);
  assert.equal(opened(), 3);
  const socket = greet();
  mock.timers.tick(5001);
  socket.end(1012);
  mock.timers.tick(500);
  assert.equal(opened(), 4);
});

test("a handshake or connect without an answer is tried again, once", () => {
  start();
  mock.timers.tick(5000);
  mock.timers.tick(500);
  assert.equal(browser.sockets.length, 2);
  browser.socket.open();
  mock.timers.tick(5000);
  mock.timers.tick(1000);
  assert.equal(browser.sockets.length, 3);
  mock.timers.tick(400);
  assert.equal(browser.sockets.length, 3);
});

test("it comes back at once when the network does", () => {
  start();
  greet().end(1006);
  browser.fire("online");
  assert.equal(browser.sockets.length, 2);
  mock.timers.tick(600);
  assert.equal(browser.sockets.length, 2);
});

test("a socket that is let go of while it connects is closed once it has opened", () => {
  const { client } = start();
  const first = browser.socket;
  client.disconnect();
  assert.equal(first.closed, false);
  first.open();
  assert.equal(first.closed, true);
  assert.deepEqual(first.sent, []);
});

test("a handshake that was let go of does not hold up the next one", () => {
  const { client } = start();
  const first = browser.socket;
  client.disconnect();
  client.connect();
  assert.equal(first.closed, true);
  assert.equal(greet().closed, false);
  assert.equal(client.state, "connected");
});

test("terminal codes and refusals end it; temporary ones do not", () => {
  const ended = (act) => {
    browser.reset();
    const { client } = start();
    const reasons = [];
    client.on("disconnected", (reason) => reasons.push(reason.code));
    act();
    mock.timers.tick(60_000);
    return reasons;
  };
  const refuse = (error) => () => {
    browser.socket.open();
    browser.socket.take({ id: 1, error });
  };
  assert.deepEqual(ended(() => greet().end(3503)), [3503]);
  assert.deepEqual(ended(refuse({ code: 101, message: "unauthorized" })), [1]);
  assert.deepEqual(ended(() => greet({ data: { user: { id: "8" } } })), [1]);
  assert.equal(browser.sockets.length, 1);
  assert.deepEqual(ended(refuse({ code: 100, message: "internal", temporary: true })), []);
  assert.ok(browser.sockets.length > 1);
});

test("somebody else's publications never reach this page", () => {
  const { seen } = start();
  greet({
    data: { user: { id: "8" } },
    subs: { "user:8": { epoch: "b", offset: 1, publications: [publication(1)] } },
  });
  assert.deepEqual(seen, []);
});

test("a call is answered, refused, timed out or without a connection", async () => {
  const { client } = start();
  await assert.rejects(client.rpc("unread"), { message: "not connected" });
  const socket = greet();
  const answered = client.rpc("unread");
  socket.take({ id: socket.last("rpc").id, rpc: { data: { unread: 2 } } });
  assert.deepEqual(await answered, { unread: 2 });
  const refused = client.rpc("nothing");
  socket.take({ id: socket.last("rpc").id, error: { code: 104, message: "method not found" } });
  await assert.rejects(refused, { code: 104 });
  const late = client.rpc("unread");
  mock.timers.tick(5000);
  await assert.rejects(late, { message: "timeout" });
  const cut = client.rpc("unread");
  socket.end(1006);
  await assert.rejects(cut, { message: "not connected" });
});

test("topics are subscribed to on every connection, and resumed", () => {
  const { seen } = start({ topics: ["topic:news"] });
  let socket = greet();
  assert.deepEqual(socket.last("subscribe").subscribe, { channel: "topic:news" });
  socket.take({ id: socket.last("subscribe").id, subscribe: { epoch: "t", offset: 4 } });
  socket.take(push("topic:news", 5));
  socket.end(1006);
  mock.timers.tick(500);
  socket = greet();
  assert.deepEqual(socket.last("connect").connect.subs, {});
  assert.deepEqual(socket.last("subscribe").subscribe, {
    channel: "topic:news",
    recover: true,
    epoch: "t",
    offset: 5,
  });
  assert.deepEqual(seen, ["topic:news@5"]);
});

test("streams that the user has lost are forgotten", () => {
  const kept = storage();
  start({ storage: kept });
  const socket = greet({ subs: { "group:3": { epoch: "g", offset: 1 }, staff: { epoch: "s", offset: 2 } } });
  socket.take({ push: { channel: "group:3", unsubscribe: { code: 2000, reason: "" } } });
  assert.deepEqual(Object.keys(JSON.parse(kept.getItem(KEY))), ["staff"]);
  socket.take({ push: { channel: "group:4", subscribe: { epoch: "h", offset: 3 } } });
  assert.deepEqual(JSON.parse(kept.getItem(KEY))["group:4"], { epoch: "h", offset: 3 });
});

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
  // The page was made before the first of them.
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

test("a topic that was left while it was away is not joined again", () => {
  const { client } = start({ topics: ["topic:own"], followed: ["topic:news"] });
  const ended = [];
  client.on("unsubscribed", ({ channel, code, reason }) => ended.push([channel, code, reason]));
  const subscribed = (socket) =>
    socket.sent.filter((command) => command.subscribe).map((command) => command.subscribe.channel);
  const data = (...topics) => ({ data: { user: { id: "7" }, ...(topics.length ? { topics } : {}) } });
  let socket = greet(data("topic:news"));
  assert.deepEqual(subscribed(socket), ["topic:own", "topic:news"]);
  for (const { id } of socket.sent.filter((command) => command.subscribe)) {
    socket.take({ id, subscribe: { epoch: "t" } });
  }
  socket.end(1006);
  mock.timers.tick(500);
  socket = greet(data("topic:own", "topic:new"));
  assert.deepEqual(ended, [["topic:news", 2000, "left"]]);
  assert.deepEqual(subscribed(socket), ["topic:own", "topic:new"]);
  socket.end(1006);
  mock.timers.tick(1000);
  socket = greet(data());
  assert.deepEqual(subscribed(socket), []);
});

test("unsubscribe keeps the position, leave forgets it", async () => {
  const kept = storage();
  const { client } = start({ storage: kept, followed: ["topic:news"] });
  const socket = greet({ data: { user: { id: "7" }, topics: ["topic:news"] } });
  socket.take({ id: socket.last("subscribe").id, subscribe: { epoch: "t", offset: 4 } });
  const unsubscribed = client.unsubscribe("topic:news");
  socket.take({ id: socket.last("unsubscribe").id, unsubscribe: {} });
  await unsubscribed;
  client.subscribe("topic:news");
  const again = { channel: "topic:news", recover: true, epoch: "t", offset: 4 };
  assert.deepEqual(socket.last("subscribe").subscribe, again);
  socket.take({ id: socket.last("subscribe").id, subscribe: { epoch: "t", offset: 4 } });
  const left = client.leave("topic:news");
  assert.deepEqual(socket.last("rpc").rpc, { method: "leave", data: { channel: "topic:news" } });
  socket.take({ id: socket.last("rpc").id, rpc: { data: { unread: 2 } } });
  assert.deepEqual(await left, { unread: 2 });
  assert.deepEqual(JSON.parse(kept.getItem(KEY)), {});
});

test("a topic that is joined elsewhere is read here too", () => {
  follow(0);
  const socket = greet({ data: { user: { id: "7" } } });
  const join = { type: "join", ids: [], channel: "topic:news", unread: 0 };
  socket.take({ push: { message: { data: join } } });
  assert.deepEqual(socket.last("subscribe").subscribe, { channel: "topic:news" });
});

const told = (data) => ({ push: { message: { data } } });

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
