/**
 * A request to the server that is sent after a short pause, once for all callers in that time.
 *
 * @import { ProtocolError } from "./protocol.js"
 */
import { Backoff } from "./backoff.js";
import { NOT_CONNECTED } from "./requests.js";

/** Bounds of the pause in milliseconds. It grows while requests keep following each other. */
const MIN_DELAY_MS = 250;
const MAX_DELAY_MS = 30_000;

/** Milliseconds without a request after which the pause is short again. */
const RESET_AFTER_MS = 10_000;

export class Debounced {
  #ask;
  #timer = 0;
  /** How often it was cancelled. A request from before the last time is not retried. */
  #cancelled = 0;
  #askedAt = -Infinity;
  /** Spreads the requests of many clients over time. */
  #backoff = new Backoff(MIN_DELAY_MS, MAX_DELAY_MS);

  /** @param {() => Promise<unknown>} ask is called again after a pause on a temporary error */
  constructor(ask) {
    this.#ask = ask;
  }

  schedule() {
    if (this.#timer) return;
    if (Date.now() - this.#askedAt > RESET_AFTER_MS) this.#backoff.reset();
    this.#timer = setTimeout(() => this.#run(), this.#backoff.next());
  }

  /** Sends the request at once. */
  now() {
    this.cancel();
    return this.#run();
  }

  /** Drops a pending request, and does not retry a running one. */
  cancel() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#cancelled += 1;
  }

  async #run() {
    this.#askedAt = Date.now();
    this.#timer = 0;
    const cancelled = this.#cancelled;
    try {
      await this.#ask();
    } catch (error) {
      const { code, temporary } = /** @type {ProtocolError} */ (error);
      // After a lost connection, the next one fetches everything again.
      const isWanted = cancelled === this.#cancelled;
      if (isWanted && temporary && code !== NOT_CONNECTED) this.schedule();
    }
  }
}
