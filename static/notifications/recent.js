/**
 * The last publications of each stream that a shared connection reads, for tabs that come later.
 *
 * @import { Position, Publication, SubscribeResult } from "./protocol.js"
 *
 * @typedef {object} Kept
 * @property {string} epoch
 * @property {number} since everything above this offset is kept
 * @property {number} offset the last one
 * @property {number} shown the last offset that some tab has got
 * @property {Publication[]} publications
 */

/**
 * How many publications of a stream are kept, besides those that no tab has got. A hidden tab, whose
 * timers are slow, is a second late when another one takes the lead.
 */
const MAX_KEPT = 1000;

export class Recent {
  /** @type {Map<string, Kept>} */
  #streams = new Map();
  /** @type {Set<string>} the streams that the connection reads */
  #live = new Set();

  /** @returns {string[]} the channels that the connection reads */
  get channels() {
    return [...this.#live];
  }

  /**
   * @param {string} channel
   * @returns {boolean} whether the connection reads it
   */
  has(channel) {
    return this.#live.has(channel);
  }

  /**
   * The connection reads a stream from this position on.
   *
   * @param {string} channel
   * @param {Position} position
   * @param {boolean} isGap whether something may be missing between what is kept and the position
   */
  begin(channel, { epoch, offset }, isGap) {
    this.#live.add(channel);
    const kept = this.#streams.get(channel);
    const follows = !isGap && kept?.epoch === epoch && kept.since <= offset;
    if (follows) kept.offset = Math.max(kept.offset, offset);
    else this.#streams.set(channel, { epoch, since: offset, offset, shown: offset, publications: [] });
  }

  /** The connection is lost. What is kept still serves tabs that have missed it. */
  pause() {
    this.#live.clear();
  }

  /**
   * @param {string} channel
   * @param {Publication} publication
   * @param {boolean} isShown whether some tab gets it now
   */
  add(channel, publication, isShown) {
    const kept = this.#streams.get(channel);
    if (!kept) return;
    kept.publications.push(publication);
    kept.offset = publication.offset ?? kept.offset;
    if (isShown) kept.shown = kept.offset;
    this.#trim(kept);
  }

  /**
   * @param {string} channel
   * @returns {boolean} whether the connection read it
   */
  forget(channel) {
    this.#streams.delete(channel);
    return this.#live.delete(channel);
  }

  /**
   * Answers a tab as the server would. A tab without a position gets what no other tab has got.
   *
   * @param {string} channel that is being read
   * @param {{epoch?: string, offset?: number} | undefined} position of the tab
   * @param {number} reached the offset up to which the connection has read the stream. Between the
   *   last publication and this one there is nothing to send.
   * @returns {SubscribeResult}
   */
  resume(channel, position, reached) {
    const kept = /** @type {Kept} */ (this.#streams.get(channel));
    kept.offset = Math.max(kept.offset, reached);
    const { epoch, offset, since, shown } = kept;
    const wasRecovering = position?.offset !== undefined;
    const from = position?.offset ?? shown;
    const recovered = !wasRecovering || (position.epoch === epoch && from >= since);
    const above = kept.publications.filter((one) => (one.offset ?? 0) > from);
    kept.shown = offset;
    this.#trim(kept);
    const publications = recovered ? above : [];
    return { epoch, offset, was_recovering: wasRecovering, recovered, publications };
  }

  /** @param {Kept} kept */
  #trim(kept) {
    while (kept.publications.length > MAX_KEPT) {
      const first = kept.publications[0]?.offset ?? 0;
      if (first > kept.shown) return;
      kept.publications.shift();
      kept.since = first;
    }
  }
}
