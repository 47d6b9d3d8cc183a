/**
 * The topics that a client subscribes to by itself, on every connection again.
 *
 * What the server cannot do for now is tried again with growing pauses, what it refuses is given
 * up: https://centrifugal.dev/docs/transports/client_api#subscription-states
 *
 * @typedef {import("./client.js").Events} Events
 * @typedef {import("./protocol.js").Command} Command
 * @typedef {import("./requests.js").Handle} Handle
 * @typedef {import("./streams.js").Streams} Streams
 *
 * @typedef {object} Line the connection that it uses
 * @property {(command: Command, handle: Handle, fail: (error: ProtocolError) => void) => void} send
 * @property {import("./emitter.js").Emitter<Events>} target emits what becomes of subscriptions
 * @property {() => Backoff} makeBackoff
 * @property {() => void} reconnect
 */
import { Backoff } from "./backoff.js";
import { ALREADY_SUBSCRIBED, ProtocolError } from "./protocol.js";
import { NOT_CONNECTED } from "./requests.js";

/** Code of an `unsubscribed` event: the subscription has ended for good. */
const LEFT = 2000;

/** From this code on, an `unsubscribe` push asks to subscribe again. */
const RESUBSCRIBE = 2500;

export class Subscriptions {
  /** @type {Map<string, Backoff>} what is wanted, and how long the next attempt waits */
  #wanted = new Map();
  /** @type {Map<string, number>} timers of attempts to come */
  #retries = new Map();
  /** @type {Set<string>} those of the wanted ones that the user is known to follow */
  #followed;
  #mirrors;
  #line;
  #streams;

  /**
   * @param {Line} line
   * @param {Streams} streams
   * @param {string[]} topics to subscribe to whenever it connects
   * @param {string[]} [followed] by the user; left out where the client shall not mirror these
   */
  constructor(line, streams, topics, followed) {
    this.#line = line;
    this.#streams = streams;
    this.#mirrors = followed !== undefined;
    this.#followed = new Set(followed ?? []);
    for (const channel of [...topics, ...this.#followed]) this.want(channel);
  }

  /** @param {string} channel */
  want(channel) {
    if (!this.#wanted.has(channel)) this.#wanted.set(channel, this.#line.makeBackoff());
  }

  /**
   * The user goes on following it, and its position is kept.
   *
   * @param {string} channel
   */
  unwant(channel) {
    this.#wanted.delete(channel);
    this.#cancel(channel);
    this.#streams.end(channel);
  }

  /**
   * Subscribes to everything that is wanted, on a new connection.
   *
   * Topics may have been joined and left while this client was away. To subscribe to one that was
   * left would join it again.
   *
   * @param {string[]} [followed] by the user; left out where there are none
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

  /** The connection is gone. */
  pause() {
    for (const channel of [...this.#retries.keys()]) this.#cancel(channel);
  }

  /**
   * @param {string} channel
   * @returns {Promise<void>} rejected when it is refused or there is no answer; it is tried again
   *   where that may pass
   */
  async subscribe(channel) {
    if (this.#streams.isLive(channel)) return;
    try {
      await this.#ask(channel);
    } catch (error) {
      this.#failed(channel, /** @type {ProtocolError} */ (error));
      throw error;
    }
  }

  /**
   * The server has ended a subscription.
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

  /** @param {string} channel that is neither wanted nor followed any more */
  lose(channel) {
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
      this.#line.send(
        { subscribe: { channel, ...this.#streams.resume(channel) } },
        ({ subscribe, error }) => {
          // Also when it comes late: the publications in it are not sent again.
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
   * @param {import("./protocol.js").SubscribeResult} result
   */
  #subscribed(channel, result) {
    const backoff = this.#wanted.get(channel);
    if (!backoff) return;
    backoff.reset();
    this.#cancel(channel);
    this.#followed.add(channel);
    this.#streams.adopt(channel, result);
  }

  /** @param {string} channel to which the server says that it has subscribed this client before */
  #known(channel) {
    // The answer that told where it begins has been lost: only a new connection can tell.
    if (this.#wanted.has(channel) && !this.#streams.isLive(channel)) this.#line.reconnect();
  }

  /**
   * @param {string} channel
   * @param {ProtocolError} error
   */
  #failed(channel, error) {
    // The next connection subscribes.
    if (error.code === NOT_CONNECTED) return;
    this.#line.target.emit("error", { type: "subscribe", error });
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
    this.lose(channel);
    this.#line.target.emit("unsubscribed", { channel, code, reason });
  }
}
