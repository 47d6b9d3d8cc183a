import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { browser } from "./browser.js";
import { ENDPOINT, KEY, greet as answer, own, publication, push, settled, storage } from "./talk.js";
import { Audience } from "../../static/notifications/audience.js";
import { Client } from "../../static/notifications/client.js";
import { Notifications } from "../../static/notifications/notifications.js";
import { Recent } from "../../static/notifications/recent.js";
import { Relay } from "../../static/notifications/relay.js";
import { openShared } from "../../static/notifications/tabs.js";

/** A tab of one browser, with its own page. */
async function open({ user = "7", kept = storage(), ...options } = {}) {
  const client = new Client(ENDPOINT, user, {
    storage: kept,
    transports: ["websocket"],
    share: openShared,
    ...options,
  });
  const notifications = new Notifications(client, 0);
  const seen = [];
  const log = [];
  client.on("publication", ({ channel, offset }) => seen.push(`${channel}@${offset}`));
  client.on("subscribed", ({ channel, wasRecovering, recovered }) => {
    if (wasRecovering && !recovered) log.push(`gap ${channel}`);
  });
  client.on("disconnected", ({ code, reason }) => log.push(`ended ${code} ${reason}`));
  notifications.on("change", ({ type, ids, isOwn = false }) => log.push([type, ids, isOwn]));
  client.connect();
  await settled();
  return { client, notifications, seen, log, kept };
}

async function greet(connect = {}) {
  const socket = answer({ data: { unread: 0, user: { id: "7" } }, ...connect });
  await settled();
  return socket;
}

/** Answers the last call of this procedure. */
async function reply(socket, data) {
  socket.take({ id: socket.last("rpc").id, rpc: { data } });
  await settled();
}

/** Answers all counts that were asked for. */
async function count(socket, unread) {
  const asked = socket.sent.filter(({ rpc }) => rpc?.method === "unread" && !rpc.data.ids);
  for (const { id } of asked) socket.take({ id, rpc: { data: { unread } } });
  await settled();
}

/** Two tabs of one user, of which the first one has the connection. */
async function pair(connect = own(), options = {}) {
  const first = await open(options);
  const socket = await greet(connect);
  const second = await open(options);
  await count(socket, 0);
  return { first, second, socket };
}

async function pass(milliseconds) {
  for (let left = milliseconds; left > 0; left -= 250) {
    mock.timers.tick(Math.min(250, left));
    await settled();
  }
}

const kinds = (socket, name) => socket.sent.filter((command) => name in command).length;

test("P3: tabs share one connection, and each gets a publication once", async () => {
  const { first, second, socket } = await pair();
  socket.take(push("user:7", 1), push("user:7", 1), push("user:7", 2));
  await settled();
  assert.equal(browser.sockets.length, 1);
  for (const { client, seen } of [first, second]) {
    assert.equal(client.state, "connected");
    assert.deepEqual(seen, ["user:7@1", "user:7@2"]);
  }
  await pass(300);
  const acknowledged = socket.sent.filter(({ rpc }) => rpc?.method === "ack");
  assert.deepEqual(acknowledged.map(({ rpc }) => rpc.data.offset), [2]);
});

test("a tab that comes later gets the present count", async () => {
  await open();
  const socket = await greet(own());
  const { notifications } = await open();
  assert.equal(notifications.state, "connecting");
  await reply(socket, { unread: 3 });
  assert.equal(notifications.unreadCount, 3);
  assert.equal(notifications.state, "connected");
});

test("P1: what arrives while a tab connects follows the reply", async () => {
  await open();
  const socket = await greet(own());
  const second = await open();
  socket.take(push("user:7", 1));
  await settled();
  assert.deepEqual(second.seen, []);
  await reply(socket, { unread: 0 });
  assert.deepEqual(second.seen, ["user:7@1"]);
  assert.equal(second.notifications.unreadCount, 1);
});

test("P3: a tab without a position starts where the connection is, and not at the beginning", async () => {
  const { first, second, socket } = await pair(own({ offset: 40 }));
  for (const { kept } of [first, second]) {
    assert.deepEqual(JSON.parse(kept.getItem(KEY)), { "user:7": { epoch: "a", offset: 40 } });
  }
  socket.end(1006);
  await pass(500);
  assert.ok(browser.socket !== socket);
  browser.socket.open();
  assert.equal(browser.socket.last("connect").connect.subs["user:7"].offset, 40);
});

test("P8: a tab that is behind what the connection began with is told", async () => {
  await open();
  const backlog = { offset: 40, recovered: true, publications: [publication(38), publication(40)] };
  const socket = await greet(own(backlog));
  const kept = (offset) => {
    const one = storage();
    one.setItem(KEY, JSON.stringify({ "user:7": { epoch: "a", offset } }));
    return one;
  };
  const behind = await open({ kept: kept(10) });
  await count(socket, 0);
  const ahead = await open({ kept: kept(37) });
  await count(socket, 0);
  assert.ok(behind.log.includes("gap user:7"));
  assert.deepEqual(behind.seen, []);
  assert.deepEqual(ahead.seen, ["user:7@38", "user:7@40"]);
  assert.ok(!ahead.log.includes("gap user:7"));
});

test("a change in one tab reaches the others, which the server does not tell of it", async () => {
  const { first, second, socket } = await pair();
  const done = second.notifications.read([4]);
  await settled();
  await reply(socket, { ids: [4], unread: 7 });
  await done;
  assert.deepEqual(first.log.at(-1), ["read", [4], false]);
  assert.deepEqual(second.log.at(-1), ["read", [4], true]);
  for (const { notifications } of [first, second]) assert.equal(notifications.unreadCount, 7);
});

test("tabs that share a connection reach the server where the page says", async () => {
  await open({ transports: ["websocket"], addresses: { websocket: "/ws/" } });
  assert.equal(browser.socket.url, "wss://site.example/ws/");
});

test("P1: when the leader leaves, another tab goes on from its own position", async () => {
  const { first, second, socket } = await pair(own({ offset: 4 }));
  socket.take(push("user:7", 5));
  await settled();
  first.client.disconnect();
  await settled();
  await pass(500);
  assert.equal(socket.closed, true);
  assert.equal(browser.sockets.length, 2);
  assert.equal(browser.socket.url, "wss://site.example/push/connection/websocket");
  const missed = { offset: 6, was_recovering: true, recovered: true, publications: [publication(6)] };
  const next = await greet(own(missed));
  assert.equal(next.last("connect").connect.subs["user:7"].offset, 5);
  assert.deepEqual(second.seen, ["user:7@5", "user:7@6"]);
  assert.deepEqual(first.seen, ["user:7@5"]);

  first.client.connect();
  await settled();
  await count(next, 0);
  assert.deepEqual(first.seen, ["user:7@5", "user:7@6"]);
  assert.equal(browser.sockets.length, 2);
});

/** A tab that hangs takes no messages, and keeps its lock. */
function hang() {
  const { postMessage } = BroadcastChannel.prototype;
  mock.method(BroadcastChannel.prototype, "postMessage", function post(message) {
    if ("leader" in message) postMessage.call(this, message);
  });
}

test("P1: the connection of a leader that does not answer is taken over", async () => {
  const { first, second, socket } = await pair();
  hang();
  second.client.disconnect();
  second.client.connect();
  await settled();
  await pass(3750);
  assert.equal(browser.sockets.length, 1);
  await pass(250);
  assert.equal(browser.sockets.length, 2);
  assert.equal(socket.closed, true);
  mock.restoreAll();
  const next = await greet(own());
  await pass(1000);
  await count(next, 0);
  for (const { client } of [first, second]) assert.equal(client.state, "connected");
  assert.equal(browser.sockets.length, 2);
  // The tab that was robbed waits for its turn.
  second.client.disconnect();
  await pass(1000);
  assert.equal(browser.sockets.length, 3);
});

test("P1: a tab in use notices within 6 s that the leader hangs", async () => {
  const { second, socket } = await pair();
  await pass(20_000);
  assert.equal(browser.sockets.length, 1);
  hang();
  await pass(6000);
  assert.equal(browser.sockets.length, 2);
  assert.equal(socket.closed, true);
  mock.restoreAll();
  await pass(250);
  await greet(own());
  assert.equal(second.client.state, "connected");
});

test("P1: a leader that hangs while it connects is replaced too", async () => {
  await open();
  const second = await open();
  hang();
  await pass(6500);
  await greet(own());
  assert.equal(second.client.state, "connected");
});

test("a hidden tab does not ask whether the leader is there until it is shown", async () => {
  await pair();
  const asked = () => BroadcastChannel.prototype.postMessage.mock.calls
    .filter((call) => call.arguments[0].kind === "ask").length;
  mock.method(BroadcastChannel.prototype, "postMessage");
  document.visibilityState = "hidden";
  await pass(20_000);
  assert.equal(asked(), 0);
  document.visibilityState = "visible";
  browser.fire("visibilitychange");
  await pass(3000);
  assert.equal(asked(), 2);
  assert.equal(browser.sockets.length, 1);
});

test("a tab that is shown and hidden many times at once does not replace its leader", async () => {
  await pair();
  for (let times = 0; times < 10; times += 1) browser.fire("visibilitychange");
  await settled();
  assert.equal(browser.sockets.length, 1);
});

test("P3: hundreds of publications that arrive before a tab connects follow in order", async () => {
  const first = await open();
  const socket = await greet(own());
  const second = await open({ kept: storage() });
  await count(socket, 0);
  const numbers = Array.from({ length: 900 }, (_, index) => index + 1);
  second.client.disconnect();
  await settled();
  for (const number of numbers) socket.take(push("user:7", number));
  second.client.connect();
  await settled();
  await count(socket, 900);
  for (const { seen } of [first, second]) assert.deepEqual(seen, numbers.map((number) => `user:7@${number}`));
  assert.ok(!second.log.includes("gap user:7"));
});

test("P5: what waits for a tab that has crashed while it connected is bounded", () => {
  const told = [];
  const audience = new Audience((message) => told.push(message));
  audience.open("crashed");
  const { waiting } = audience.get("crashed");
  for (let offset = 1; offset <= 2000; offset += 1) audience.send(push("user:7", offset));
  assert.equal(waiting.length, 1000);
  assert.equal(audience.get("crashed"), undefined);
});

test("P1: when the leader crashes, all others find the next one", async () => {
  const { first, second } = await pair();
  const third = await open();
  await count(browser.socket, 0);
  const { postMessage } = BroadcastChannel.prototype;
  mock.method(BroadcastChannel.prototype, "postMessage", function post(message) {
    if (message.kind !== "close") postMessage.call(this, message);
  });
  first.client.disconnect();
  await pass(1000);
  const next = await greet(own());
  await count(next, 0);
  for (const { client } of [second, third]) assert.equal(client.state, "connected");
  next.take(push("user:7", 1));
  await settled();
  for (const { seen } of [second, third]) assert.deepEqual(seen, ["user:7@1"]);
});

test("a message that arrives while a tab connects reaches it once", async () => {
  await open();
  const socket = await greet(own());
  const second = await open();
  socket.take({ push: { message: { data: { type: "read", ids: [4] } } } });
  await settled();
  await count(socket, 0);
  assert.deepEqual(second.log.filter(([type]) => type === "read"), [["read", [4], false]]);
});

test("P1: a lost connection is resumed once, for all tabs", async () => {
  const { first, second, socket } = await pair();
  socket.take(push("user:7", 1));
  await settled();
  socket.end(1006);
  await settled();
  for (const { client } of [first, second]) assert.equal(client.state, "connecting");
  await pass(500);
  const missed = { offset: 2, was_recovering: true, recovered: true, publications: [publication(2)] };
  const next = await greet({ ...own(missed), data: { unread: 2, user: { id: "7" } } });
  await pass(500);
  await count(next, 2);
  for (const { client, seen, notifications } of [first, second]) {
    assert.equal(client.state, "connected");
    assert.deepEqual(seen, ["user:7@1", "user:7@2"]);
    assert.equal(notifications.unreadCount, 2);
  }
  assert.equal(browser.sockets.length, 2);
});

test("P8: a gap is told to every tab", async () => {
  const { first, second, socket } = await pair(own({ offset: 4 }));
  socket.end(1006);
  await pass(500);
  const next = await greet(own({ epoch: "b", offset: 1, was_recovering: true }));
  await pass(500);
  await reply(next, { unread: 0 });
  for (const { log } of [first, second]) assert.ok(log.includes("gap user:7"), JSON.stringify(log));
});

test("a logout ends all tabs", async () => {
  const { first, second, socket } = await pair();
  socket.end(3011);
  await pass(1000);
  browser.socket.open();
  const { id } = browser.socket.last("connect");
  browser.socket.take({ id, error: { code: 101, message: "unauthorized" } });
  await pass(20_000);
  assert.equal(browser.sockets.length, 2);
  for (const { client, log } of [first, second]) {
    assert.equal(client.state, "disconnected");
    assert.deepEqual(log.filter((one) => typeof one === "string"), ["ended 1 unauthorized"]);
  }
});

test("a tab that comes after the server has ended the connection is ended too", async () => {
  const told = [];
  const page = { endpoint: ENDPOINT, userId: "7", positions: () => [], followed: () => [], transports: ["websocket"] };
  const relay = new Relay(page, (message) => told.push(message));
  relay.start();
  browser.socket.open();
  const { id } = browser.socket.last("connect");
  browser.socket.take({ id, error: { code: 101, message: "unauthorized" } });
  relay.take({ kind: "hello", from: "late" });
  const { kind, to, closed } = told.at(-1);
  assert.deepEqual([kind, to], ["close", "late"]);
  assert.deepEqual(closed, { code: 1, reason: "unauthorized", isFinal: true });
});

test("a page that is refused, and connects again and again, does so with growing pauses", async () => {
  const { client } = await open();
  for (let elapsed = 0; elapsed < 8000; elapsed += 100) {
    const { socket } = browser;
    if (!socket.sent.length) {
      socket.open();
      const { id } = socket.last("connect");
      socket.take({ id, error: { code: 101, message: "unauthorized" } });
    }
    await settled();
    client.connect();
    await settled();
    mock.timers.tick(100);
    await settled();
  }
  // At 0, 0.1, 0.6, 1.6, 3.6 and 7.6 s.
  assert.equal(browser.sockets.length, 6);
});

test("P8: a gap in a topic is told to the tabs that read it", async () => {
  const topic = { followed: ["topic:news"] };
  const tab = await open(topic);
  const socket = await greet({ ...own(), data: { unread: 0, user: { id: "7" }, topics: ["topic:news"] } });
  const answerSubscribe = async (result) => {
    socket.take({ id: socket.last("subscribe").id, subscribe: { epoch: "t", ...result } });
    await settled();
  };
  await answerSubscribe({ offset: 4 });
  socket.take({ push: { channel: "topic:news", unsubscribe: { code: 2500, reason: "insufficient state" } } });
  await pass(500);
  await answerSubscribe({ offset: 9, was_recovering: true });
  await pass(1000);
  assert.ok(tab.log.includes("gap topic:news"), JSON.stringify(tab.log));
  socket.take(push("topic:news", 10));
  assert.deepEqual(tab.seen, ["topic:news@10"]);
});

test("P6: tabs of another user, or of another site on the same host, have a connection of their own", async () => {
  await pair();
  await open({ user: "8" });
  assert.equal(browser.sockets.length, 2);
});

test("topics are read while some tab reads them", async () => {
  const topic = { followed: ["topic:news"] };
  const data = { unread: 0, user: { id: "7" }, topics: ["topic:news"] };
  const first = await open(topic);
  const socket = await greet({ ...own(), data });
  socket.take({ id: socket.last("subscribe").id, subscribe: { epoch: "t", offset: 4 } });
  await settled();
  const second = await open(topic);
  await reply(socket, { unread: 0 });
  socket.take(push("topic:news", 5));
  await settled();
  assert.equal(kinds(socket, "subscribe"), 1);
  for (const { seen } of [first, second]) assert.deepEqual(seen, ["topic:news@5"]);
  await first.client.unsubscribe("topic:news");
  socket.take(push("topic:news", 6));
  await settled();
  assert.deepEqual([first.seen.length, second.seen.length], [1, 2]);
  assert.equal(kinds(socket, "unsubscribe"), 0);
  second.client.disconnect();
  await settled();
  assert.equal(kinds(socket, "unsubscribe"), 1);
});

test("a topic that is left in one tab ends in the others once, whatever comes first", async () => {
  for (const pushesFirst of [true, false]) {
    browser.reset();
    const topic = { followed: ["topic:news"] };
    const first = await open(topic);
    const socket = await greet({ ...own(), data: { unread: 0, user: { id: "7" }, topics: ["topic:news"] } });
    socket.take({ id: socket.last("subscribe").id, subscribe: { epoch: "t", offset: 4 } });
    const second = await open(topic);
    await count(socket, 0);
    const ended = [];
    first.client.on("unsubscribed", ({ channel, code }) => ended.push([channel, code]));
    const left = second.client.leave("topic:news");
    await settled();
    const pushed = { push: { channel: "topic:news", unsubscribe: { code: 2000, reason: "left" } } };
    const replied = { id: socket.last("rpc").id, rpc: { data: { unread: 0 } } };
    socket.take(...(pushesFirst ? [pushed, replied] : [replied, pushed]));
    await left;
    await settled();
    assert.deepEqual(ended, [["topic:news", 2000]]);
    assert.deepEqual(first.log.filter(([type]) => type === "leave").length, 1);
  }
});

test("a group that comes during the connection reaches all tabs, with its publications", async () => {
  const { first, second, socket } = await pair();
  const subscribe = { epoch: "g", offset: 1, recovered: true, publications: [publication(1)] };
  socket.take({ push: { channel: "group:3", subscribe } }, push("group:3", 2));
  await settled();
  for (const { seen } of [first, second]) assert.deepEqual(seen, ["group:3@1", "group:3@2"]);
});

test("without Web Locks, or if the page says so, a tab has a connection of its own", async () => {
  mock.method(document, "querySelector", () => ({}));
  await open();
  await open();
  assert.equal(browser.sockets.length, 2);
});

test("if the lock is refused, a tab has a connection of its own", async () => {
  mock.method(navigator.locks, "request", () => Promise.reject(new DOMException("", "SecurityError")));
  const { client } = await open();
  await pass(500);
  await greet(own());
  assert.equal(client.state, "connected");
});

test("what is kept for later tabs is bounded, but not before a tab has got it", () => {
  const recent = new Recent();
  recent.begin("user:7", { epoch: "a", offset: 0 }, false);
  for (let offset = 1; offset <= 1500; offset += 1) recent.add("user:7", publication(offset), false);
  assert.equal(recent.resume("user:7", undefined, 0).publications.length, 1500);
  assert.deepEqual(recent.resume("user:7", undefined, 0).publications, []);
  const resume = (offset, epoch = "a") => recent.resume("user:7", { epoch, offset }, 0);
  assert.equal(resume(499).recovered, false);
  assert.equal(resume(500).recovered, true);
  assert.deepEqual(resume(1498).publications.map(({ offset }) => offset), [1499, 1500]);
  assert.equal(resume(1498, "b").recovered, false);
  recent.begin("user:7", { epoch: "a", offset: 1500 }, true);
  assert.equal(resume(1499).recovered, false);
});
