/**
 * Tries from time to time, while a fallback is in use, whether a WebSocket works by now.
 *
 * A laptop leaves the network that breaks WebSockets, and a WebSocket costs the server less.
 */
import { Backoff } from "./backoff.js";

/** Bounds of the pause in milliseconds. It grows with each attempt of the same connection. */
const MIN_DELAY_MS = 60_000;
const MAX_DELAY_MS = 1_800_000;

export class Upgrade {
  #timer = 0;
  #backoff = new Backoff(MIN_DELAY_MS, MAX_DELAY_MS);
  #probe;
  #found;

  /**
   * @param {() => Promise<boolean>} probe
   * @param {() => void} found called when a probe was successful, unless stopped meanwhile
   */
  constructor(probe, found) {
    this.#probe = probe;
    this.#found = found;
  }

  start() {
    this.stop();
    const timer = setTimeout(() => this.#run(timer), this.#backoff.next());
    this.#timer = timer;
  }

  stop() {
    clearTimeout(this.#timer);
    this.#timer = 0;
  }

  /** @param {number} timer */
  async #run(timer) {
    const isFound = await this.#probe();
    if (this.#timer !== timer) return;
    if (!isFound) {
      this.start();
      return;
    }
    this.#backoff.reset();
    this.#found();
  }
}
