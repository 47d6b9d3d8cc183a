/**
 * A question to the server that is asked soon, once for all who want it meanwhile.
 *
 * @typedef {import("./protocol.js").ProtocolError} ProtocolError
 */
import { Backoff } from "./backoff.js";
import { NOT_CONNECTED } from "./requests.js";

/** The pauses grow from the first to the second while it is wanted again and again, in milliseconds. */
const SHORTEST = 250;
const LONGEST = 30_000;

/** When nobody has wanted it for so long, the pauses are short again, in milliseconds. */
const CALM = 10_000;

export class Soon {
  #ask;
  #timer = 0;
  /** How often it was called off: what was asked before then is not asked again. */
  #cancelled = 0;
  #askedAt = -Infinity;
  /** Spreads the questions of many clients. */
  #backoff = new Backoff(SHORTEST, LONGEST);

  /** @param {() => Promise<unknown>} ask is called again after a pause when it fails for now */
  constructor(ask) {
    this.#ask = ask;
  }

  want() {
    if (this.#timer) return;
    if (Date.now() - this.#askedAt > CALM) this.#backoff.reset();
    this.#timer = setTimeout(() => this.#run(), this.#backoff.next());
  }

  /** Asks without a pause. */
  now() {
    this.cancel();
    return this.#run();
  }

  /** Nobody wants it any more. */
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
      // Without a connection, the next one asks for everything anew.
      const isWanted = cancelled === this.#cancelled;
      if (isWanted && temporary && code !== NOT_CONNECTED) this.want();
    }
  }
}
