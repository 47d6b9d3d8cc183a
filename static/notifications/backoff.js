/**
 * Exponential backoff with full jitter: the n-th delay (from n = 0) is a random number between 0
 * and min(longest, shortest · 2ⁿ), so that clients of a failed server do not reconnect together.
 *
 * Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 */
export class Backoff {
  #attempt = 0;

  /**
   * @param {number} shortest milliseconds
   * @param {number} longest milliseconds
   * @param {() => number} random returns a number from 0 to 1
   */
  constructor(shortest, longest, random = Math.random) {
    this.shortest = shortest;
    this.longest = longest;
    this.random = random;
  }

  /** @returns {number} milliseconds to wait before the next attempt */
  next() {
    const most = Math.min(this.longest, this.shortest * 2 ** this.#attempt);
    this.#attempt += 1;
    return this.random() * most;
  }

  reset() {
    this.#attempt = 0;
  }
}
