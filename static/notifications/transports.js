/**
 * Chooses the transport of each attempt to connect: the WebSocket, and others where a network
 * breaks WebSockets.
 *
 * An attempt fails if it ends before the server has sent anything. Until the first attempt of the
 * page succeeds, each failure moves on to the next transport. After that, the transport that has
 * worked is kept, because a server that is restarted is more likely than a network that has
 * changed; from the third failure in a row on, every second attempt tries another one.
 *
 * @import { Addresses, Transport, TransportName } from "./transport.js"
 */
import { EventStream } from "./event_stream.js";
import { HttpStream } from "./http_stream.js";
import { OPEN, defaultAddresses, openWebSocket, requestUrl } from "./transport.js";

/** @type {readonly TransportName[]} */
const ALL = ["websocket", "http_stream", "sse"];

/** @type {Record<TransportName, (addresses: Addresses) => Transport>} */
const OPENERS = {
  websocket: ({ websocket = "" }) => openWebSocket(websocket),
  http_stream: ({ http_stream, emulation }) => new HttpStream(requestUrl(http_stream), requestUrl(emulation)),
  sse: ({ sse, emulation }) => new EventStream(requestUrl(sse), requestUrl(emulation)),
};

/** Milliseconds for which the next pages of a tab begin with the fallback that has worked. */
const REMEMBERED_MS = 600_000;

/** How many failures in a row the transport that has worked is kept for. */
const KEPT_FOR = 3;

export class Transports {
  #addresses;
  #names;
  #key;
  /** The transports in the order in which they are tried until one has worked. */
  #order;
  /** @type {TransportName | undefined} the transport over which the server has answered last */
  #proven;
  #failures = 0;

  /**
   * @param {string} endpoint path or URL of the WebSocket; it stands for the site
   * @param {readonly TransportName[]} [names] in the order of preference
   * @param {Addresses} [addresses] of what the server has; by default, they are beside the WebSocket
   * @throws {TypeError} the server has none of these transports
   */
  constructor(endpoint, names = ALL, addresses = defaultAddresses(endpoint)) {
    this.#addresses = addresses;
    this.#names = names.filter((name) => isOn(name, addresses));
    if (!this.#names.length) throw new TypeError("the server has none of these transports");
    this.#key = `notifications:transport:${endpoint}`;
    const remembered = this.#names.filter((name) => name === this.#remembered);
    this.#order = [...new Set([...remembered, ...this.#names])];
  }

  start() {}

  stop() {}

  /** @returns {Transport} */
  open() {
    return OPENERS[this.name](this.#addresses);
  }

  /** The server has sent something over the present transport. */
  answered() {
    this.#proven = this.name;
    this.#failures = 0;
    this.#remember(this.#isPreferred ? undefined : this.#proven);
  }

  /** The present attempt has ended without an answer. */
  failed() {
    this.#failures += 1;
  }

  /** Starts again with the first transport, because the network may have changed. */
  reset() {
    this.#proven = undefined;
    this.#failures = 0;
    this.#order = [...this.#names];
  }

  /** Whether the next attempt tries another transport for the first time, and so need not wait. */
  get isTrying() {
    return !this.#proven && this.#failures > 0 && this.#failures < this.#names.length;
  }

  /** Whether the connection uses another transport, although a WebSocket is preferred. */
  get isFallback() {
    return this.#names[0] === "websocket" && this.#proven !== undefined && !this.#isPreferred;
  }

  get #isPreferred() {
    return this.#proven === this.#names[0];
  }

  /**
   * Tries whether a WebSocket works by now. A proxy may accept the handshake and swallow all that
   * follows, so it counts as working only if the server answers the close frame.
   *
   * @param {number} timeout milliseconds
   * @returns {Promise<boolean>}
   */
  probe(timeout) {
    const socket = openWebSocket(this.#addresses.websocket ?? "");
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), timeout);
      socket.onopen = () => socket.close();
      socket.onclose = ({ wasClean }) => {
        clearTimeout(timer);
        resolve(wasClean ?? false);
      };
    }).finally(() => {
      if (socket.readyState <= OPEN) socket.close();
    });
  }

  /** The transport of the present attempt. @returns {TransportName} */
  get name() {
    const failures = this.#failures;
    if (!this.#proven) return at(this.#order, failures);
    const others = this.#names.filter((name) => name !== this.#proven);
    const keeps = failures < KEPT_FOR || failures % 2 === 0 || !others.length;
    return keeps ? this.#proven : at(others, (failures - KEPT_FOR) / 2);
  }

  get #remembered() {
    try {
      const { name, until } = JSON.parse(sessionStorage.getItem(this.#key) ?? "{}");
      return until > Date.now() ? name : undefined;
    } catch {
      return undefined;
    }
  }

  /** @param {TransportName | undefined} name */
  #remember(name) {
    try {
      if (name) sessionStorage.setItem(this.#key, JSON.stringify({ name, until: Date.now() + REMEMBERED_MS }));
      else sessionStorage.removeItem(this.#key);
    } catch {
      // The browser forbids it: the next page finds out by itself.
    }
  }
}

/**
 * @param {TransportName} name
 * @param {Addresses} addresses
 */
function isOn(name, addresses) {
  return Boolean(addresses[name] && (name === "websocket" || addresses.emulation));
}

/**
 * @param {readonly TransportName[]} names
 * @param {number} place
 */
function at(names, place) {
  return /** @type {TransportName} */ (names[place % names.length]);
}
