import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { browser } from "./browser.js";
import { greet, own, publication, push, settled, start as startWith } from "./talk.js";

const ALL = ["websocket", "http_stream", "sse"];
const start = (options = {}) => startWith({ transports: ALL, ...options });

const CONNECTED = { client: "c", ping: 25, pong: true, session: "s", node: "n", data: { user: { id: "7" } } };

/** The response to a request that stays open. */
class Stream {
  constructor(request) {
    const body = new ReadableStream({ start: (controller) => (this.controller = controller) });
    request.respond(new Response(body));
  }

  take(...replies) {
    this.write(replies.map((reply) => `${JSON.stringify(reply)}\n`).join(""));
    return settled();
  }

  write(text) {
    this.controller.enqueue(new TextEncoder().encode(text));
  }
}

/** A client whose WebSocket is refused, and whose http_stream is answered. */
async function streamed(options, connect = {}) {
  const started = start(options);
  browser.socket.end(1006);
  mock.timers.tick(0);
  await settled();
  const request = browser.requests.at(-1);
  const stream = new Stream(request);
  await settled();
  const { id, connect: asked } = JSON.parse(request.body);
  await stream.take({ id, connect: { ...CONNECTED, ...connect } });
  return { ...started, request, stream, asked };
}

const posts = () =>
  browser.requests
    .filter(({ path }) => path === "/push/emulation")
    .map(({ body }) => JSON.parse(body));

test("a refused WebSocket is followed by a stream at once, and that by events", async () => {
  const { client, seen } = start();
  browser.socket.end(1006);
  mock.timers.tick(0);
  await settled();
  assert.equal(browser.requests[0].path, "/push/connection/http_stream");
  assert.equal(client.state, "connecting");
  browser.requests[0].respond(new Response("", { status: 403 }));
  await settled();
  mock.timers.tick(0);
  await settled();
  const source = browser.sources[0];
  assert.equal(source.path, "/push/connection/sse");
  source.take({ id: source.connect.id, connect: { ...CONNECTED, ...own() } }, push("user:7", 1));
  assert.equal(client.state, "connected");
  assert.deepEqual(seen, ["user:7@1"]);
});

/** Where a site has moved everything, and switched off the WebSocket. */
const MOVED = { http_stream: "/live/lines", sse: "/live/events?a=1", emulation: "https://b.example/send" };

test("transports are where the page says, and one that is off is not tried", async () => {
  const { client } = start({ addresses: MOVED });
  assert.equal(browser.sockets.length, 0);
  await settled();
  assert.equal(browser.requests[0].path, "/live/lines");
  browser.requests[0].respond(new Response("", { status: 404 }));
  await settled();
  mock.timers.tick(0);
  await settled();
  const source = browser.sources[0];
  assert.equal(source.path, "/live/events");
  source.take({ id: source.connect.id, connect: CONNECTED });
  client.rpc("unread").catch(() => undefined);
  await settled();
  assert.equal(browser.requests.at(-1).path, "/send");
  mock.timers.tick(10 * 60_000);
  assert.equal(browser.sockets.length, 0, "no WebSocket is probed either");
});

test("a transport that needs requests is not tried without an address for them", () => {
  const addresses = { http_stream: "/live/lines" };
  start({ addresses: { websocket: "/ws/", ...addresses } });
  assert.equal(browser.socket.url, "wss://site.example/ws/");
  browser.socket.end(1006);
  mock.timers.tick(500);
  assert.equal(browser.requests.length, 0);
  assert.equal(browser.sockets.length, 2);
  assert.throws(() => start({ addresses }), TypeError);
});

test("a fallback is kept without probes where the page prefers it to a WebSocket", async () => {
  start({ transports: ["sse", "websocket"] });
  await settled();
  browser.sources[0].onerror();
  mock.timers.tick(0);
  greet({ ping: 0 });
  mock.timers.tick(10 * 60_000);
  assert.equal(browser.sockets.length, 1);
});

test("when no transport works, the client waits before it begins again", async () => {
  start();
  browser.socket.end(1006);
  mock.timers.tick(0);
  await settled();
  browser.requests[0].fail();
  await settled();
  mock.timers.tick(0);
  await settled();
  browser.sources[0].onerror();
  assert.equal(browser.sources[0].closed, true);
  mock.timers.tick(499);
  assert.equal(browser.sockets.length, 1);
  mock.timers.tick(1);
  assert.equal(browser.sockets.length, 2);
});

test("a WebSocket that opens and never answers is followed by a stream", async () => {
  start();
  browser.socket.open();
  mock.timers.tick(5000);
  mock.timers.tick(0);
  await settled();
  assert.equal(browser.socket.closed, true);
  assert.equal(browser.requests.length, 1);
});

test("P3: frames of a stream may be cut anywhere", async () => {
  const { stream, seen } = await streamed({}, own());
  const text = `${JSON.stringify({ push: { channel: "user:7", pub: { offset: 1, data: { title: "☃" } } } })}\n`;
  const bytes = new TextEncoder().encode(text + JSON.stringify(push("user:7", 2)) + "\n{}\n");
  for (let start = 0; start < bytes.length; start += 7) {
    stream.controller.enqueue(bytes.slice(start, start + 7));
  }
  await settled();
  assert.deepEqual(seen, ["user:7@1", "user:7@2"]);
  assert.deepEqual(posts(), [{ session: "s", node: "n", data: "{}" }]);
});

test("commands over a stream keep their order: one request at a time", async () => {
  const { client, stream } = await streamed();
  const calls = [client.rpc("unread"), client.rpc("topics"), client.rpc("inbox")];
  await settled();
  assert.equal(posts().length, 1);
  browser.requests.at(-1).respond(new Response(null, { status: 204 }));
  await settled();
  assert.equal(posts().length, 2);
  const sent = posts().flatMap(({ data }) => data.split("\n").map((line) => JSON.parse(line)));
  assert.deepEqual(sent.map(({ rpc }) => rpc.method), ["unread", "topics", "inbox"]);
  await stream.take(...sent.map(({ id, rpc }) => ({ id, rpc: { data: { method: rpc.method } } })));
  assert.deepEqual((await Promise.all(calls)).map(({ method }) => method), ["unread", "topics", "inbox"]);
});

test("P1: a command that cannot be sent ends the connection, and the next one resumes", async () => {
  const { client, stream, seen } = await streamed({}, own());
  await stream.take(push("user:7", 1));
  const call = assert.rejects(client.rpc("unread"), { message: "not connected" });
  browser.requests.at(-1).respond(new Response("", { status: 404 }));
  await settled();
  await call;
  assert.equal(client.state, "connecting");
  mock.timers.tick(500);
  await settled();
  const next = browser.requests.at(-1);
  assert.equal(next.path, "/push/connection/http_stream");
  const subs = { "user:7": { recover: true, epoch: "a", offset: 1 } };
  assert.deepEqual(JSON.parse(next.body).connect.subs, subs);
  const missed = own({ offset: 2, was_recovering: true, recovered: true, publications: [publication(2)] });
  await new Stream(next).take({ id: JSON.parse(next.body).id, connect: { ...CONNECTED, ...missed } });
  assert.deepEqual(seen, ["user:7@1", "user:7@2"]);
});

test("a stream is ended by the codes that end a WebSocket", async () => {
  const disconnect = (code) => ({ push: { disconnect: { code, reason: "because" } } });
  const { client, stream } = await streamed();
  const reasons = [];
  client.on("disconnected", (reason) => reasons.push(reason));
  await stream.take(disconnect(3001));
  assert.equal(client.state, "connecting");
  mock.timers.tick(500);
  await settled();
  await new Stream(browser.requests.at(-1)).take(disconnect(3503));
  assert.deepEqual(reasons, [{ code: 3503, reason: "because" }]);
});

test("the transport that has worked is kept for two failures, then others are tried in between", async () => {
  start();
  greet().end(1006);
  const used = [];
  for (let attempt = 0; attempt < 7; attempt += 1) {
    mock.timers.tick(20_000);
    await settled();
    if (browser.requests.length) used.push(browser.requests.pop().fail() ?? "http_stream");
    else if (browser.sources.length) used.push(browser.sources.pop().onerror() ?? "sse");
    else used.push(browser.sockets.pop().end(1006) ?? "websocket");
    await settled();
  }
  assert.deepEqual(used, [
    ...["websocket", "websocket", "websocket"],
    ...["http_stream", "websocket", "sse", "websocket"],
  ]);
});

test("the next pages of a tab begin with the fallback that has worked, for a while", async () => {
  await streamed();
  start();
  await settled();
  assert.equal(browser.sockets.length, 1);
  assert.equal(browser.requests.at(-1).path, "/push/connection/http_stream");
  browser.requests.at(-1).fail();
  await settled();
  mock.timers.tick(0);
  assert.equal(browser.sockets.length, 2);
  greet();
  start();
  assert.equal(browser.sockets.length, 3);
});

test("a fallback is forgotten after ten minutes", async () => {
  const { client } = await streamed();
  client.disconnect();
  mock.timers.tick(600_000);
  start();
  assert.equal(browser.sockets.length, 2);
});

test("P1: the client returns to the WebSocket when one can be opened and closed", async () => {
  const { client, stream, seen } = await streamed({}, own());
  await stream.take(push("user:7", 1));
  const transports = [];
  client.on("connected", ({ transport }) => transports.push(transport));
  mock.timers.tick(30_000);
  await stream.take({});
  mock.timers.tick(30_000);
  assert.equal(browser.sockets.length, 2);
  browser.socket.open();
  browser.socket.onclose({ code: 1006, wasClean: false });
  await settled();
  assert.equal(client.state, "connected");
  for (let left = 120_000; left > 0; left -= 30_000) {
    await stream.take({});
    mock.timers.tick(30_000);
  }
  assert.equal(browser.sockets.length, 3);
  const { socket } = browser;
  socket.open();
  assert.equal(socket.closed, true);
  socket.onclose({ code: 1000, wasClean: true });
  await settled();
  const next = browser.socket;
  assert.notEqual(next, socket);
  greet(own({ offset: 2, was_recovering: true, recovered: true, publications: [publication(2)] }));
  assert.equal(next.last("connect").connect.subs["user:7"].offset, 1);
  assert.deepEqual(transports, ["websocket"]);
  assert.deepEqual(seen, ["user:7@1", "user:7@2"]);
});
