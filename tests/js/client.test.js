import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { browser, errors } from "./browser.js";
import { KEY, greet, own, publication, push, start, storage } from "./talk.js";

test("the socket's URL keeps the path prefix, and uses TLS if the page does", () => {
  start();
  assert.equal(browser.socket.url, "wss://site.example/push/connection/websocket");
});

test("P3: duplicates are dropped by offset, and new publications are emitted in order", () => {
  const { seen } = start();
  const socket = greet(own({ offset: 2, recovered: true, publications: [publication(1), publication(2)] }));
  socket.take(push("user:7", 2), push("user:7", 3), push("user:7", 3), push("user:7", 5));
  socket.take(push("user:7", 4), push("group:1", 1));
  assert.deepEqual(seen, ["user:7@1", "user:7@2", "user:7@3", "user:7@5"]);
});

test("positions are stored after the handlers have run, and sent on a reconnect", () => {
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

test("a handler that throws is reported, and stops nothing else", () => {
  const { client, seen } = start();
  client.on("publication", () => {
    throw new Error("application");
  });
  greet(own()).take(push("user:7", 1), push("user:7", 2));
  assert.deepEqual(seen, ["user:7@1", "user:7@2"]);
  assert.equal(errors.length, 2);
});

test("a new epoch resets the position", () => {
  const { seen } = start();
  greet(own({ offset: 9 })).end(1006);
  mock.timers.tick(500);
  greet(own({ epoch: "b", offset: 1, was_recovering: true })).take(push("user:7", 2));
  assert.deepEqual(seen, ["user:7@2"]);
});

test("a failed recovery is reported, and the server's position is adopted", () => {
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

test("the client reconnects when pings are missing", () => {
  start();
  const socket = greet();
  mock.timers.tick(34_999);
  assert.equal(socket.closed, false);
  mock.timers.tick(1);
  assert.equal(socket.closed, true);
  mock.timers.tick(500);
  assert.equal(browser.sockets.length, 2);
});

test("reconnect delays grow, and are reset by a stable connection", () => {
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

test("a handshake or connect without a reply is repeated once", () => {
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

test("the client reconnects at once when the network is back", () => {
  start();
  greet().end(1006);
  browser.fire("online");
  assert.equal(browser.sockets.length, 2);
  mock.timers.tick(600);
  assert.equal(browser.sockets.length, 2);
});

test("a dropped connecting socket is closed after it opens", () => {
  const { client } = start();
  const first = browser.socket;
  client.disconnect();
  assert.equal(first.closed, false);
  first.open();
  assert.equal(first.closed, true);
  assert.deepEqual(first.sent, []);
});

test("a dropped handshake does not delay the next one", () => {
  const { client } = start();
  const first = browser.socket;
  client.disconnect();
  client.connect();
  assert.equal(first.closed, true);
  assert.equal(greet().closed, false);
  assert.equal(client.state, "connected");
});

test("terminal close codes and refusals end the client; temporary ones do not", () => {
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

test("publications of another user never reach this page", () => {
  const { seen } = start();
  greet({
    data: { user: { id: "8" } },
    subs: { "user:8": { epoch: "b", offset: 1, publications: [publication(1)] } },
  });
  assert.deepEqual(seen, []);
});

test("a call is answered, refused, timed out, or fails without a connection", async () => {
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

test("topics are subscribed to and resumed on every connection", () => {
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

test("positions of streams that the user has lost are forgotten", () => {
  const kept = storage();
  start({ storage: kept });
  const socket = greet({ subs: { "group:3": { epoch: "g", offset: 1 }, staff: { epoch: "s", offset: 2 } } });
  socket.take({ push: { channel: "group:3", unsubscribe: { code: 2000, reason: "" } } });
  assert.deepEqual(Object.keys(JSON.parse(kept.getItem(KEY))), ["staff"]);
  socket.take({ push: { channel: "group:4", subscribe: { epoch: "h", offset: 3 } } });
  assert.deepEqual(JSON.parse(kept.getItem(KEY))["group:4"], { epoch: "h", offset: 3 });
});

test("a topic that was left while the client was disconnected is not joined again", () => {
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

test("unsubscribe keeps the position, and leave forgets it", async () => {
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

test("a refused client reconnects with growing pauses", () => {
  const { client } = start();
  for (const pause of [500, 1000, 2000]) {
    browser.socket.open();
    browser.socket.take({ id: browser.socket.last("connect").id, error: { code: 101, message: "unauthorized" } });
    const before = browser.sockets.length;
    for (let left = pause; left > 0; left -= 100) {
      client.connect();
      assert.equal(browser.sockets.length, before);
      mock.timers.tick(100);
    }
    assert.equal(browser.sockets.length, before + 1);
  }
  client.disconnect();
  client.connect();
  assert.equal(browser.socket.closed, false);
  greet();
  assert.equal(client.state, "connected");
});
