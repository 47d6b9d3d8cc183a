/** Helpers for tests of the client. Importing this module fakes timers and random numbers. */
import { afterEach, beforeEach, mock } from "node:test";

import { MemoryStorage, browser } from "./browser.js";
import { Client } from "../../static/notifications/client.js";
import { Notifications } from "../../static/notifications/notifications.js";

export const ENDPOINT = "/push/connection/websocket";
export const KEY = `notifications:${ENDPOINT}:7`;

beforeEach(() => {
  browser.reset();
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  mock.method(Math, "random", () => 1);
});

afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

export const storage = () => new MemoryStorage();
export const publication = (offset) => ({ data: { id: offset, title: `n${offset}` }, offset });
export const push = (channel, offset) => ({ push: { channel, pub: publication(offset) } });
export const own = (result = {}) => ({ subs: { "user:7": { epoch: "a", ...result } } });

export function start(options = {}) {
  const client = new Client(ENDPOINT, "7", { storage: storage(), transports: ["websocket"], ...options });
  const seen = [];
  client.on("publication", ({ channel, offset }) => seen.push(`${channel}@${offset}`));
  client.connect();
  return { client, seen };
}

/** Opens the newest socket, and answers its connect command. */
export function greet(connect = {}) {
  const socket = browser.socket;
  socket.open();
  socket.take({
    id: socket.last("connect").id,
    connect: { client: "c", ping: 25, pong: true, data: { user: { id: "7" } }, ...connect },
  });
  return socket;
}

/** Waits until all code that only awaits promises has run. */
export const settled = () => new Promise(setImmediate);

export function follow(unread) {
  const { client } = start();
  const notifications = new Notifications(client, unread);
  const counts = [];
  notifications.on("count", ({ unread: count }) => counts.push(count));
  return { client, notifications, counts };
}
