/** A fake of the browser's APIs that the client uses. */

const handlers = new Map();

export const browser = {
  sockets: [],
  /** @returns the socket that was created last */
  get socket() {
    return this.sockets.at(-1);
  },
  fire(name) {
    for (const handler of handlers.get(name) ?? []) handler({ type: name });
  },
  /** Requests that were sent with fetch(), as {path, body, respond, fail}. */
  requests: [],
  /** Event sources, as {path, connect, onmessage, onerror, closed}. */
  sources: [],
  reset() {
    this.sockets.length = 0;
    this.requests.length = 0;
    this.sources.length = 0;
    channels.clear();
    locks.reset();
    globalThis.sessionStorage = new MemoryStorage();
    handlers.clear();
    errors.length = 0;
  },
};

export const errors = [];

class FakeSocket {
  static CONNECTING = 0;
  static OPEN = 1;
  readyState = 0;
  sent = [];
  closed = false;

  constructor(url) {
    this.url = String(url);
    browser.sockets.push(this);
  }

  send(frame) {
    this.sent.push(...frame.split("\n").map((line) => JSON.parse(line)));
  }

  close() {
    this.closed = true;
    this.readyState = 3;
  }

  // Actions of the server

  open() {
    this.readyState = FakeSocket.OPEN;
    this.onopen();
  }

  take(...replies) {
    this.onmessage({ data: replies.map((reply) => JSON.stringify(reply)).join("\n") });
  }

  end(code, reason = "") {
    this.readyState = 3;
    this.onclose({ code, reason });
  }

  /** The last command that contains this request. */
  last(name) {
    return this.sent.findLast((command) => name in command);
  }
}

/** Takes requests; a test answers each one. */
function fakeFetch(url, { body, signal }) {
  return new Promise((respond, reject) => {
    const fail = () => reject(new TypeError("failed to fetch"));
    signal?.addEventListener("abort", fail);
    browser.requests.push({ path: new URL(url).pathname, body, respond, fail });
  });
}

class FakeEventSource {
  closed = false;

  constructor(url) {
    this.path = url.pathname;
    this.connect = JSON.parse(url.searchParams.get("cf_connect"));
    browser.sources.push(this);
  }

  close() {
    this.closed = true;
  }

  take(...replies) {
    for (const reply of replies) this.onmessage({ data: JSON.stringify(reply) });
  }
}

/** All open channels of all tabs. */
const channels = new Set();

class FakeBroadcastChannel {
  constructor(name) {
    this.name = name;
    channels.add(this);
  }

  postMessage(data) {
    const others = [...channels].filter((other) => other !== this && other.name === this.name);
    const copy = structuredClone(data);
    for (const other of others) queueMicrotask(() => channels.has(other) && other.onmessage({ data: copy }));
  }

  close() {
    channels.delete(this);
  }
}

/** Web Locks: https://w3c.github.io/web-locks/ */
const locks = {
  held: new Map(),
  queues: new Map(),
  reset() {
    this.held.clear();
    this.queues.clear();
  },
  request(name, { steal = false, signal }, callback) {
    return new Promise((resolve, reject) => {
      const aborted = () => reject(new DOMException("", "AbortError"));
      const request = { callback, resolve, reject, aborted, signal };
      const queue = this.queues.get(name) ?? [];
      this.queues.set(name, steal ? [request, ...queue] : [...queue, request]);
      signal?.addEventListener("abort", () => {
        const left = this.queues.get(name) ?? [];
        this.queues.set(name, left.filter((one) => one !== request));
        aborted();
      });
      if (steal) this.held.get(name)?.aborted();
      if (steal) this.held.delete(name);
      queueMicrotask(() => this.grant(name));
    });
  },
  grant(name) {
    const request = this.queues.get(name)?.[0];
    if (!request || this.held.has(name)) return;
    this.queues.set(name, this.queues.get(name).slice(1));
    this.held.set(name, request);
    Promise.resolve(request.callback()).then((value) => {
      if (this.held.get(name) === request) this.held.delete(name);
      request.resolve(value);
      this.grant(name);
    }, request.reject);
  },
};

const events = {
  addEventListener: (name, handler) => handlers.set(name, [...(handlers.get(name) ?? []), handler]),
  removeEventListener: (name, handler) =>
    handlers.set(name, (handlers.get(name) ?? []).filter((other) => other !== handler)),
};

Object.assign(globalThis, events, {
  WebSocket: FakeSocket,
  EventSource: FakeEventSource,
  BroadcastChannel: FakeBroadcastChannel,
  fetch: fakeFetch,
  document: { ...events, visibilityState: "visible", querySelector: () => null },
  location: { href: "https://site.example/push/page/" },
  reportError: (error) => errors.push(error),
});
Object.defineProperty(globalThis, "navigator", { value: { onLine: true, locks } });

export class MemoryStorage {
  items = new Map();

  getItem(key) {
    return this.items.get(key) ?? null;
  }

  setItem(key, value) {
    this.items.set(key, value);
  }

  removeItem(key) {
    this.items.delete(key);
  }
}
