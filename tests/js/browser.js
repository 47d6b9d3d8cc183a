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
  reset() {
    this.sockets.length = 0;
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

const events = {
  addEventListener: (name, handler) => handlers.set(name, [...(handlers.get(name) ?? []), handler]),
  removeEventListener: (name, handler) =>
    handlers.set(name, (handlers.get(name) ?? []).filter((other) => other !== handler)),
};

Object.assign(globalThis, events, {
  WebSocket: FakeSocket,
  document: { ...events, visibilityState: "visible" },
  location: { href: "https://site.example/push/page/" },
  reportError: (error) => errors.push(error),
});
Object.defineProperty(globalThis, "navigator", { value: { onLine: true } });

export class MemoryStorage {
  items = new Map();

  getItem(key) {
    return this.items.get(key) ?? null;
  }

  setItem(key, value) {
    this.items.set(key, value);
  }
}
