/**
 * Chooses the transport of each attempt to connect: the WebSocket, and others where a network
 * breaks WebSockets.
 *
 * An attempt fails if it ends before the server has sent anything. Until the first attempt of the
 * page succeeds, each failure moves on to the next transport. After that, the transport that has
 * worked is kept, because a server that is restarted is more likely than a network that has
 * changed; from the third failure in a row on, every second attempt tries another one.
 *
 * @typedef {import("./transport.js").Transport} Transport
 * @typedef {import("./transport.js").TransportName} TransportName
 */
import { EventStream } from "./event_stream.js";
import { HttpStream } from "./http_stream.js";
import { OPEN, openWebSocket } from "./transport.js";

/** @type {readonly TransportName[]} */
const ALL = ["websocket", "http_stream", "sse"];

/** @type {Record<TransportName, (endpoint: URL) => Transport>} */
const OPENERS = {
  websocket: openWebSocket,
  http_stream: (endpoint) => new HttpStream(endpoint),
  sse: (endpoint) => new EventStream(endpoint),
};

/** How many failures in a row the transport that has worked is kept for. */
const KEPT_FOR = 3;

export class Transports {
  #endpoint;
  #names;
  /** @type {TransportName | undefined} the transport over which the server has answered last */
  #proven;
  #failures = 0;

  /**
   * @param {string} endpoint path or URL of the WebSocket; the others are beside it
   * @param {readonly TransportName[]} [names] in the order of preference
   */
  constructor(endpoint, names = ALL) {
    this.#endpoint = new URL(endpoint, location.href);
    this.#names = names;
  }

  start() {}

  stop() {}

  /** @returns {Transport} */
  open() {
    return OPENERS[this.name](this.#endpoint);
  }

  /** The server has sent something over the present transport. */
  answered() {
    this.#proven = this.name;
    this.#failures = 0;
  }

  /** The present attempt has ended without an answer. */
  failed() {
    this.#failures += 1;
  }

  /** Starts again with the first transport, because the network may have changed. */
  reset() {
    this.#proven = undefined;
    this.#failures = 0;
  }

  /** Whether the next attempt tries another transport for the first time, and so need not wait. */
  get isTrying() {
    return !this.#proven && this.#failures > 0 && this.#failures < this.#names.length;
  }

  /** Whether the connection uses another transport than the preferred one. */
  get isFallback() {
    return this.#proven !== undefined && this.#proven !== this.#names[0];
  }

  /**
   * Tries whether a WebSocket works by now. A proxy may accept the handshake and swallow all that
   * follows, so it counts as working only if the server answers the close frame.
   *
   * @param {number} timeout milliseconds
   * @returns {Promise<boolean>}
   */
  probe(timeout) {
    const socket = openWebSocket(this.#endpoint);
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
    const names = this.#names;
    const others = names.filter((name) => name !== this.#proven);
    const keeps = this.#failures < KEPT_FOR || this.#failures % 2 === 0 || !others.length;
    if (this.#proven && keeps) return this.#proven;
    const place = this.#proven ? (this.#failures - KEPT_FOR) / 2 : this.#failures;
    return /** @type {TransportName} */ (others[place % others.length]);
  }
}
