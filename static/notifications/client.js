/**
 * A connection to the server, which connects, recovers, reconnects and acknowledges.
 *
 * `connect`, `disconnect`, `on`, `rpc`, the states and their codes have the names of the Centrifuge
 * SDKs. Each publication is emitted once, in the order of its stream.
 *
 * @typedef {import("./protocol.js").Command} Command
 * @typedef {import("./protocol.js").ConnectResult} ConnectResult
 * @typedef {import("./protocol.js").Content} Content
 * @typedef {import("./protocol.js").Push} Push
 * @typedef {import("./protocol.js").Reply} Reply
 *
 * @typedef {"disconnected" | "connecting" | "connected"} State
 *
 * @typedef {object} Events
 * @property {{code: number, reason: string}} connecting
 * @property {{client: string, data: NonNullable<ConnectResult["data"]>, reconnected: boolean}} connected
 * @property {{code: number, reason: string}} disconnected the client will not reconnect by itself
 * @property {{type: string, error: Error}} error
 * @property {{channel: string, wasRecovering: boolean, recovered: boolean}} subscribed
 *   `wasRecovering` without `recovered`: publications were missed and have to be fetched
 * @property {{channel: string, code: number, reason: string}} unsubscribed
 * @property {{channel: string, data: Content, offset: number, recovered: boolean}} publication
 *   `recovered`: it was part of the reply to a connect or subscribe
 * @property {{data: any}} message
 * @property {{method: string, data: any, result: any}} late the reply to a call that had timed out:
 *   the server has carried it out nevertheless
 *
 * @typedef {object} Options times in milliseconds
 * @property {string[]} [topics] channels to subscribe to on every connection
 * @property {string[]} [followed] topics that the user followed when the page was rendered. The
 *   client subscribes to these, and to those that other devices join while it is disconnected.
 * @property {number} [minReconnectDelay]
 * @property {number} [maxReconnectDelay]
 * @property {number} [timeout] for the reply to a command
 * @property {number} [maxServerPingDelay] how late a ping may be
 * @property {Storage | null} [storage]
 */
import { Backoff } from "./backoff.js";
import { Emitter } from "./emitter.js";
import { Positions, localStorageOrNull } from "./positions.js";
import { PONG, ProtocolError, UNAUTHORIZED, decodeFrame, isPing, isTerminal } from "./protocol.js";
import { Requests } from "./requests.js";
import { Streams } from "./streams.js";
import { Subscriptions } from "./subscriptions.js";

/** Reasons of `connecting` and `disconnected`, besides the close codes of the server. */
export const reasons = Object.freeze({
  connectCalled: { code: 0, reason: "connect called" },
  transportClosed: { code: 1, reason: "transport closed" },
  noPing: { code: 2, reason: "no ping" },
  subscribeTimeout: { code: 3, reason: "subscribe timeout" },
  disconnectCalled: { code: 0, reason: "disconnect called" },
  unauthorized: { code: 1, reason: "unauthorized" },
});

/** Milliseconds after which a connection counts as stable, so that the backoff is reset. */
const STABLE_AFTER_MS = 5000;

/** @extends {Emitter<Events>} */
export class Client extends Emitter {
  /** @type {State} */
  #state = "disconnected";
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {WebSocket | null} */
  #leaving = null;
  #requests;
  #storage;
  /** @type {Streams} */
  #streams;
  /** @type {Subscriptions} */
  #subscriptions;
  #connections = 0;
  #connectedAt = 0;
  #pingInterval = 0;
  #answersPings = false;
  #retryTimer = 0;
  #pingTimer = 0;
  /** Whether the server has ended or refused the last connection for good. */
  #wasEnded = false;

  /**
   * @param {string} endpoint path or URL of the socket
   * @param {string} userId the user for whom the page was rendered
   * @param {Options} [options]
   */
  constructor(endpoint, userId, options = {}) {
    super();
    this.timeout = options.timeout ?? 5000;
    this.maxServerPingDelay = options.maxServerPingDelay ?? 10_000;
    this.minReconnectDelay = options.minReconnectDelay ?? 500;
    this.maxReconnectDelay = options.maxReconnectDelay ?? 20_000;
    this.backoff = this.#makeBackoff();
    this.#requests = new Requests(this.timeout);
    this.#storage = options.storage ?? localStorageOrNull();
    this.endpoint = endpoint;
    this.userId = userId;
    this.#streams = this.#makeStreams();
    this.#subscriptions = this.#makeSubscriptions(options.topics, options.followed);
  }

  /**
   * Switches to another user: closes the connection, and keeps no state of the previous user. Call
   * `connect` afterwards.
   *
   * @param {string} endpoint
   * @param {string} userId the new user
   * @param {string[]} [followed] see {@link Options}
   */
  become(endpoint, userId, followed) {
    this.disconnect();
    this.endpoint = endpoint;
    this.userId = userId;
    this.backoff.reset();
    this.#wasEnded = false;
    this.#connections = 0;
    this.#streams = this.#makeStreams();
    this.#subscriptions = this.#makeSubscriptions([], followed);
  }

  #makeBackoff() {
    return new Backoff(this.minReconnectDelay, this.maxReconnectDelay);
  }

  #makeStreams() {
    const positions = new Positions(this.endpoint, this.userId, this.#storage);
    return new Streams(this, positions, (channel, offset) => {
      // If an acknowledgement fails, the next pong acknowledges the same offsets.
      this.rpc("ack", { channel, offset }).catch(() => undefined);
    });
  }

  /**
   * @param {string[]} [topics]
   * @param {string[]} [followed]
   */
  #makeSubscriptions(topics = [], followed) {
    const connection = {
      send: this.#request.bind(this),
      target: this,
      makeBackoff: () => this.#makeBackoff(),
      reconnect: () => this.#reconnect(reasons.subscribeTimeout),
    };
    return new Subscriptions(connection, this.#streams, topics, followed);
  }

  /** @returns {State} */
  get state() {
    return this.#state;
  }

  connect() {
    if (this.#state !== "disconnected") return;
    addEventListener("online", this.#wake);
    document.addEventListener("visibilitychange", this.#wake);
    this.#state = "connecting";
    this.emit("connecting", reasons.connectCalled);
    // A page that keeps replacing its elements calls this repeatedly.
    if (this.#wasEnded) this.#openLater();
    else this.#open();
  }

  disconnect() {
    this.#stop(reasons.disconnectCalled);
  }

  /**
   * Calls a procedure, and retries after a pause when the server replies with a temporary error.
   *
   * @param {string} method
   * @param {object} [data]
   * @returns {Promise<any>} rejected with a ProtocolError: refused, timeout, not connected
   */
  async rpc(method, data = {}) {
    const reply = await this.#call({ rpc: { method, data } }, (reply) =>
      this.emit("late", { method, data, result: reply.rpc?.data ?? {} }),
    );
    return reply.rpc?.data ?? {};
  }

  /**
   * Reads a topic on this and every later connection. A user who does not follow it yet joins it.
   *
   * @param {string} channel such as `topic:news`
   * @returns {Promise<void>} rejected if it is refused or takes too long; after a temporary error
   *   the client retries
   */
  async subscribe(channel) {
    this.#subscriptions.want(channel);
    if (this.#state === "connected") await this.#subscriptions.subscribe(channel);
  }

  /**
   * Stops reading a topic. The user goes on following it: its notifications stay in the inbox, and
   * later ones are sent when the client subscribes again.
   *
   * @param {string} channel
   */
  async unsubscribe(channel) {
    this.#subscriptions.unwant(channel);
    if (this.#state === "connected") await this.#call({ unsubscribe: { channel } });
  }

  /**
   * Ends the user's subscription to a topic for good, on all devices.
   *
   * @param {string} channel
   * @returns {Promise<{unread?: number}>}
   */
  async leave(channel) {
    const result = await this.rpc("leave", { channel });
    this.#subscriptions.drop(channel);
    return result;
  }

  // Life of the socket

  #openLater() {
    this.#retryTimer = setTimeout(() => this.#open(), this.backoff.next());
  }

  #open() {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = 0;
    const url = new URL(this.endpoint, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    // Browsers delay a handshake while another one with the same host is in progress.
    this.#leaving?.close();
    const socket = new WebSocket(url);
    this.#socket = socket;
    socket.onopen = () => this.#greet();
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onclose = (event) => this.#closed(event.code, event.reason);
    // A proxy may accept the handshake and never answer it.
    this.#expectPing(this.timeout);
  }

  #greet() {
    this.#request(
      { connect: { name: "bell", version: "1", subs: this.#streams.resumable() } },
      (reply) => this.#greeted(reply),
      (error) => {
        // Without a socket, the request has failed because the client dropped the connection.
        if (!this.#socket) return;
        this.emit("error", { type: "connect", error });
        this.#reconnect(reasons.transportClosed);
      },
    );
  }

  /** @param {Reply} reply */
  #greeted(reply) {
    if (reply.error) {
      this.#refused(new ProtocolError(reply.error));
      return;
    }
    const result = /** @type {ConnectResult} */ (reply.connect ?? {});
    if (result.data?.user && result.data.user.id !== this.userId) {
      // Another user has logged in since this page was rendered; it must not show their messages.
      this.#stop(reasons.unauthorized);
      return;
    }
    this.#state = "connected";
    this.#connectedAt = Date.now();
    this.#connections += 1;
    this.#pingInterval = (result.ping ?? 0) * 1000;
    this.#answersPings = result.pong ?? false;
    this.#expectPing();
    this.emit("connected", {
      client: result.client,
      data: result.data ?? {},
      reconnected: this.#connections > 1,
    });
    this.#streams.adoptAll(result.subs ?? {});
    this.#subscriptions.begin(result.data?.topics);
  }

  /** @param {ProtocolError} error */
  #refused(error) {
    this.emit("error", { type: "connect", error });
    if (error.temporary) {
      this.#reconnect(reasons.transportClosed);
    } else {
      this.#stop(error.code === UNAUTHORIZED ? reasons.unauthorized : toReason(error));
    }
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #closed(code, reason) {
    if (isTerminal(code)) {
      this.#stop({ code, reason });
    } else {
      this.#reconnect(reasons.transportClosed);
    }
  }

  /** @param {{code: number, reason: string}} reason */
  #reconnect(reason) {
    const wasConnected = this.#state === "connected";
    this.#drop();
    this.#state = "connecting";
    this.#openLater();
    if (wasConnected) this.emit("connecting", reason);
  }

  /** @param {{code: number, reason: string}} reason */
  #stop(reason) {
    if (this.#state === "disconnected") return;
    removeEventListener("online", this.#wake);
    document.removeEventListener("visibilitychange", this.#wake);
    clearTimeout(this.#retryTimer);
    this.#retryTimer = 0;
    this.#leave();
    this.#drop();
    this.#state = "disconnected";
    this.#wasEnded = reason !== reasons.disconnectCalled;
    this.emit("disconnected", reason);
  }

  /** Closes a connecting socket after it has opened; otherwise browsers log an error. */
  #leave() {
    const socket = this.#socket;
    if (socket?.readyState !== WebSocket.CONNECTING) return;
    this.#socket = null;
    this.#leaving = socket;
    socket.onmessage = socket.onclose = null;
    socket.onopen = () => socket.close();
  }

  /** Closes the socket, and fails all requests that wait for it. */
  #drop() {
    const hasLasted = Date.now() - this.#connectedAt > STABLE_AFTER_MS;
    if (this.#state === "connected" && hasLasted) this.backoff.reset();
    const socket = this.#socket;
    this.#socket = null;
    clearTimeout(this.#pingTimer);
    this.#streams.pause();
    this.#subscriptions.pause();
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    }
    this.#requests.failAll();
  }

  /** Reconnects or probes at once when the network is back or the page becomes visible. */
  #wake = () => {
    if (document.visibilityState === "hidden" || !navigator.onLine) return;
    if (this.#retryTimer) {
      this.#open();
    } else if (this.#state === "connected") {
      this.#request({ ping: {} }, () => undefined, () => this.#lost());
    }
  };

  // Frames

  /** @param {string} frame */
  #receive(frame) {
    let replies;
    try {
      replies = decodeFrame(frame);
    } catch (error) {
      this.emit("error", { type: "transport", error: /** @type {Error} */ (error) });
      this.#reconnect(reasons.transportClosed);
      return;
    }
    this.#expectPing();
    const socket = this.#socket;
    for (const reply of replies) {
      // A handler may have disconnected.
      if (this.#socket !== socket) break;
      this.#handle(reply);
    }
    this.#streams.save();
  }

  /** @param {Reply} reply */
  #handle(reply) {
    if (isPing(reply)) {
      if (this.#answersPings) this.#socket?.send(PONG);
      return;
    }
    if (reply.push) {
      this.#push(reply.push);
      return;
    }
    this.#requests.settle(reply);
  }

  /** @param {Push} push */
  #push({ channel = "", pub, message, subscribe, unsubscribe }) {
    if (pub) this.#streams.publish(channel, pub);
    if (message) this.emit("message", { data: message.data });
    if (subscribe) this.#streams.adopt(channel, subscribe);
    if (unsubscribe) {
      this.#subscriptions.ended(channel, unsubscribe.code ?? 0, unsubscribe.reason ?? "");
    }
  }

  /**
   * @param {Command} command
   * @param {import("./requests.js").Handle} handle
   * @param {(error: ProtocolError) => void} fail
   */
  #request(command, handle, fail) {
    this.#requests.send(this.#socket, command, handle, fail);
  }

  /**
   * @param {Command} command
   * @param {(reply: Reply) => void} [late] gets a reply that arrives after the timeout
   * @returns {Promise<Reply>}
   */
  #call(command, late) {
    const socket = this.#state === "connected" ? this.#socket : null;
    return this.#requests.call(socket, command, this.#makeBackoff(), late);
  }

  // Heartbeat

  /** @param {number} [wait] milliseconds */
  #expectPing(wait = this.#pingInterval && this.#pingInterval + this.maxServerPingDelay) {
    clearTimeout(this.#pingTimer);
    if (wait) this.#pingTimer = setTimeout(() => this.#lost(), wait);
  }

  #lost() {
    // The probed socket may have been dropped in the meantime.
    if (this.#socket) this.#reconnect(reasons.noPing);
  }
}

/** @param {ProtocolError} error */
function toReason({ code, message }) {
  return { code, reason: message };
}
