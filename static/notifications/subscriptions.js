/**
 * The topics that the client subscribes to, again on every connection.
 *
 * A temporary error is retried with growing pauses; any other error ends the subscription:
 * https://centrifugal.dev/docs/transports/client_api#subscription-states
 *
 * @import { Events } from "./events.js"
 * @import { Command, SubscribeResult } from "./protocol.js"
 * @import { Handle } from "./requests.js"
 * @import { Streams } from "./streams.js"
 * @import { Emitter } from "./emitter.js"
 *
 * @typedef {object} Connection the connection to use
 * @property {(command: Command, handle: Handle, fail: (error: ProtocolError) => void) => void} send
 * @property {Emitter<Events>} target emits the events of subscriptions
 * @property {() => Backoff} makeBackoff
 * @property {() => void} reconnect
 */
import { Backoff } from "./backoff.js";
import { ALREADY_SUBSCRIBED, ProtocolError } from "./protocol.js";
import { NOT_CONNECTED } from "./requests.js";

/** Code of an `unsubscribed` event: the user has left the topic. */
const LEFT = 2000;

/** From this code on, an `unsubscribe` push asks the client to subscribe again. */
const RESUBSCRIBE = 2500;

export class Subscriptions {
  /** @type {Map<string, Backoff>} wanted channels, with the delays of their attempts */
  #wanted = new Map();
  /** @type {Map<string, number>} timers of pending attempts */
  #retries = new Map();
  /** @type {Map<string, Promise<void>>} attempts that wait for a reply */
  #asked = new Map();
  /** @type {Set<string>} wanted channels that the user is known to follow */
  #followed;
  #mirrors;
  #connection;
  #streams;

  /**
   * @param {Connection} connection
   * @param {Streams} streams
   * @param {string[]} topics channels to subscribe to on every connection
   * @param {string[]} [followed] topics that the user follows; left out if the client shall not
   *   subscribe to these by itself
   */
  constructor(connection, streams, topics, followed) {
    this.#connection = connection;
    this.#streams = streams;
    this.#mirrors = followed !== undefined;
    this.#followed = new Set(followed ?? []);
    for (const channel of [...topics, ...this.#followed]) this.want(channel);
  }

  /** The topics that the user is known to follow. */
  get followed() {
    return [...this.#followed];
  }

  /** @param {string} channel */
  want(channel) {
    if (!this.#wanted.has(channel)) this.#wanted.set(channel, this.#connection.makeBackoff());
  }

  /**
   * Stops subscribing. The user goes on following the topic, and its position is kept.
   *
   * @param {string} channel
   */
  unwant(channel) {
    this.#wanted.delete(channel);
    this.#cancel(channel);
    this.#streams.end(channel);
  }

  /**
   * Subscribes to all wanted channels, on a new connection.
   *
   * Other devices may have joined and left topics while this client was disconnected. A topic that
   * was left must not be subscribed to, because that would join it again.
   *
   * @param {string[]} [followed] topics that the user follows; the server leaves them out if there
   *   are none
   */
  begin(followed = this.#mirrors ? [] : [...this.#followed]) {
    for (const channel of [...this.#followed]) {
      if (!followed.includes(channel)) this.#ended(channel, LEFT, "left");
    }
    for (const channel of followed) {
      if (this.#mirrors && !this.#followed.has(channel)) this.want(channel);
    }
    this.#followed = new Set(followed);
    for (const channel of [...this.#wanted.keys()]) this.subscribe(channel).catch(() => undefined);
  }

  /** The connection is lost: cancels all pending attempts. */
  pause() {
    this.#asked.clear();
    for (const channel of [...this.#retries.keys()]) this.#cancel(channel);
  }

  /**
   * @param {string} channel
   * @returns {Promise<void>} rejected if it is refused or times out; a temporary error is retried
   */
  async subscribe(channel) {
    if (this.#streams.isLive(channel)) return;
    const asked = this.#asked.get(channel) ?? this.#try(channel);
    this.#asked.set(channel, asked);
    try {
      await asked;
    } finally {
      if (this.#asked.get(channel) === asked) this.#asked.delete(channel);
    }
  }

  /** @param {string} channel */
  async #try(channel) {
    try {
      await this.#ask(channel);
    } catch (error) {
      this.#failed(channel, /** @type {ProtocolError} */ (error));
      throw error;
    }
  }

  /**
   * Handles an `unsubscribe` push of the server.
   *
   * @param {string} channel
   * @param {number} code
   * @param {string} reason
   */
  ended(channel, code, reason) {
    if (code < RESUBSCRIBE) {
      this.#ended(channel, code, reason);
      return;
    }
    this.#streams.end(channel);
    this.#retry(channel);
  }

  /** @param {string} channel a topic that is neither wanted nor followed any more */
  drop(channel) {
    this.#streams.forget(channel);
    this.#streams.save();
    this.#wanted.delete(channel);
    this.#followed.delete(channel);
    this.#cancel(channel);
  }

  /**
   * @param {string} channel
   * @returns {Promise<void>}
   */
  #ask(channel) {
    return new Promise((resolve, reject) => {
      this.#connection.send(
        { subscribe: { channel, ...this.#streams.resume(channel) } },
        ({ subscribe, error }) => {
          // Also after a timeout: the publications in the reply are not sent again.
          if (subscribe) this.#subscribed(channel, subscribe);
          if (error?.code === ALREADY_SUBSCRIBED) this.#known(channel);
          if (!error || error.code === ALREADY_SUBSCRIBED) resolve();
          else reject(new ProtocolError(error));
        },
        reject,
      );
    });
  }

  /**
   * @param {string} channel
   * @param {SubscribeResult} result
   */
  #subscribed(channel, result) {
    const backoff = this.#wanted.get(channel);
    if (!backoff) return;
    backoff.reset();
    this.#cancel(channel);
    this.#followed.add(channel);
    this.#streams.adopt(channel, result);
  }

  /** @param {string} channel to which this client is subscribed already, according to the server */
  #known(channel) {
    // The reply with the position was lost; only a new connection gets another one.
    if (this.#wanted.has(channel) && !this.#streams.isLive(channel)) this.#connection.reconnect();
  }

  /**
   * @param {string} channel
   * @param {ProtocolError} error
   */
  #failed(channel, error) {
    // The next connection subscribes again.
    if (error.code === NOT_CONNECTED) return;
    this.#connection.target.emit("error", { type: "subscribe", error });
    if (error.temporary) this.#retry(channel);
    else if (this.#wanted.has(channel)) this.#ended(channel, error.code, error.message);
  }

  /** @param {string} channel */
  #retry(channel) {
    const backoff = this.#wanted.get(channel);
    if (!backoff) return;
    this.#cancel(channel);
    const again = () => {
      this.#retries.delete(channel);
      this.subscribe(channel).catch(() => undefined);
    };
    this.#retries.set(channel, setTimeout(again, backoff.next()));
  }

  /** @param {string} channel */
  #cancel(channel) {
    clearTimeout(this.#retries.get(channel));
    this.#retries.delete(channel);
  }

  /**
   * @param {string} channel
   * @param {number} code
   * @param {string} reason
   */
  #ended(channel, code, reason) {
    this.drop(channel);
    this.#connection.target.emit("unsubscribed", { channel, code, reason });
  }
}
