/**
 * Emits the publications of each stream once and in order.
 *
 * A publication at or below the position of its stream is dropped. The position advances only after
 * every handler has run. Until the server has confirmed a subscription on this connection,
 * publications of its stream are dropped, because earlier ones may be missing.
 *
 * @import { Events } from "./events.js"
 * @import { Emitter } from "./emitter.js"
 * @import { Positions } from "./positions.js"
 * @import { Publication, SubscribeResult } from "./protocol.js"
 *
 * @typedef {Emitter<Events>} Target
 */

/** Milliseconds between the last publication and its acknowledgement. */
const ACK_DELAY_MS = 300;

const TOPIC = "topic:";

export class Streams {
  /** @type {Set<string>} streams that are subscribed on this connection */
  #live = new Set();
  /** @type {Set<string>} */
  #unacknowledged = new Set();
  #ackTimer = 0;
  #target;
  #positions;
  #acknowledge;

  /**
   * @param {Target} target emits the publications
   * @param {Positions} positions
   * @param {(channel: string, offset: number) => void} acknowledge
   */
  constructor(target, positions, acknowledge) {
    this.#target = target;
    this.#positions = positions;
    this.#acknowledge = acknowledge;
  }

  /** The known positions. */
  get positions() {
    return this.#positions.entries();
  }

  /**
   * @param {string} channel
   * @returns {number} the offset up to which it has been read
   */
  reached(channel) {
    return this.#positions.get(channel)?.offset ?? 0;
  }

  /** @returns {Record<string, object>} parameters to resume the server-side subscriptions */
  resumable() {
    const known = this.#positions.entries().filter(([channel]) => !channel.startsWith(TOPIC));
    return Object.fromEntries(known.map(([channel]) => [channel, this.resume(channel)]));
  }

  /**
   * @param {string} channel
   * @returns {object} parameters to resume the stream; empty without a known position
   */
  resume(channel) {
    const position = this.#positions.get(channel);
    return position ? { recover: true, ...position } : {};
  }

  /** @param {Record<string, SubscribeResult>} subs results of the server-side subscriptions */
  adoptAll(subs) {
    for (const [channel] of this.#positions.entries()) {
      if (!(channel in subs) && !channel.startsWith(TOPIC)) this.#positions.forget(channel);
    }
    for (const [channel, result] of Object.entries(subs)) this.adopt(channel, result);
  }

  /**
   * Takes over the position of a stream, and emits the recovered publications.
   *
   * @param {string} channel
   * @param {SubscribeResult} result
   */
  adopt(channel, result) {
    const { epoch = "", offset = 0, publications = [] } = result;
    const wasRecovering = result.was_recovering ?? false;
    const recovered = result.recovered ?? false;
    const isLost = wasRecovering && !recovered;
    const known = this.#positions.get(channel);
    const isKnown = known?.epoch === epoch && !isLost;
    const position = isKnown ? known : { epoch, offset: (publications[0]?.offset ?? offset + 1) - 1 };
    if (known?.epoch !== epoch) this.#positions.set(channel, { epoch, offset: 0 });
    this.#live.add(channel);
    this.#target.emit("subscribed", { channel, wasRecovering, recovered, position });
    for (const publication of publications) this.publish(channel, publication, true);
    if (isLost) {
      this.#positions.replace(channel, { epoch, offset });
    } else {
      this.#advance(channel, offset);
    }
  }

  /**
   * @param {string} channel
   * @param {Publication} publication
   * @param {boolean} [recovered]
   */
  publish(channel, { data, offset = 0 }, recovered = false) {
    const position = this.#positions.get(channel);
    if (!position || !this.#live.has(channel) || offset <= position.offset) return;
    this.#target.emit("publication", { channel, data, offset, recovered });
    this.#advance(channel, offset);
    this.#acknowledgeSoon(channel);
  }

  /**
   * @param {string} channel
   * @returns {boolean} whether it is subscribed on this connection
   */
  isLive(channel) {
    return this.#live.has(channel);
  }

  /** @param {string} channel whose publications are dropped until it is subscribed again */
  end(channel) {
    this.#live.delete(channel);
  }

  /** @param {string} channel */
  forget(channel) {
    this.end(channel);
    this.#positions.forget(channel);
    this.#unacknowledged.delete(channel);
  }

  /** Stores the positions. Called when a frame has been handled. */
  save() {
    this.#positions.save();
  }

  /** The connection is lost. The next one acknowledges by the positions that it resumes from. */
  pause() {
    clearTimeout(this.#ackTimer);
    this.#unacknowledged.clear();
    this.#live.clear();
  }

  /**
   * @param {string} channel
   * @param {number} offset
   */
  #advance(channel, offset) {
    const position = this.#positions.get(channel);
    if (position && position.offset < offset) this.#positions.set(channel, { ...position, offset });
  }

  /** @param {string} channel */
  #acknowledgeSoon(channel) {
    this.#unacknowledged.add(channel);
    clearTimeout(this.#ackTimer);
    this.#ackTimer = setTimeout(() => this.#acknowledgeAll(), ACK_DELAY_MS);
  }

  #acknowledgeAll() {
    for (const channel of this.#unacknowledged) {
      const offset = this.#positions.get(channel)?.offset;
      if (offset !== undefined) this.#acknowledge(channel, offset);
    }
    this.#unacknowledged.clear();
  }
}
