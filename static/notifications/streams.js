/**
 * What each stream delivers, once and in order.
 *
 * A publication at or below the position of its stream is dropped, and the position moves only
 * after every handler has run. Before the server has told where a stream begins on this connection,
 * nothing of it is taken: something before it may be missing.
 *
 * @typedef {import("./client.js").Events} Events
 * @typedef {import("./emitter.js").Emitter<Events>} Target
 * @typedef {import("./positions.js").Positions} Positions
 * @typedef {import("./protocol.js").Publication} Publication
 * @typedef {import("./protocol.js").SubscribeResult} SubscribeResult
 */

/** An acknowledgement follows the last publication after this time, in milliseconds. */
const ACK_DELAY = 300;

const TOPIC = "topic:";

export class Streams {
  /** @type {Set<string>} streams that have begun on this connection */
  #live = new Set();
  /** @type {Set<string>} */
  #unacknowledged = new Set();
  #ackTimer = 0;
  #target;
  #positions;
  #acknowledge;

  /**
   * @param {Target} target emits what is delivered
   * @param {Positions} positions
   * @param {(channel: string, offset: number) => void} acknowledge
   */
  constructor(target, positions, acknowledge) {
    this.#target = target;
    this.#positions = positions;
    this.#acknowledge = acknowledge;
  }

  /** @returns {Record<string, object>} where to resume what the server subscribes to */
  resumable() {
    const known = this.#positions.entries().filter(([channel]) => !channel.startsWith(TOPIC));
    return Object.fromEntries(known.map(([channel]) => [channel, this.resume(channel)]));
  }

  /**
   * @param {string} channel
   * @returns {object} where to resume it; empty when it is new here
   */
  resume(channel) {
    const position = this.#positions.get(channel);
    return position ? { recover: true, ...position } : {};
  }

  /** @param {Record<string, SubscribeResult>} subs all but the topics */
  adoptAll(subs) {
    for (const [channel] of this.#positions.entries()) {
      if (!(channel in subs) && !channel.startsWith(TOPIC)) this.#positions.forget(channel);
    }
    for (const [channel, result] of Object.entries(subs)) this.adopt(channel, result);
  }

  /**
   * Takes over where a stream stands, and what was missed of it.
   *
   * @param {string} channel
   * @param {SubscribeResult} result
   */
  adopt(channel, result) {
    const { epoch = "", offset = 0, publications = [] } = result;
    const wasRecovering = result.was_recovering ?? false;
    const recovered = result.recovered ?? false;
    if (this.#positions.get(channel)?.epoch !== epoch) {
      this.#positions.set(channel, { epoch, offset: 0 });
    }
    this.#live.add(channel);
    this.#target.emit("subscribed", { channel, wasRecovering, recovered });
    for (const publication of publications) this.publish(channel, publication, true);
    if (wasRecovering && !recovered) {
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
   * @returns {boolean} whether it has begun on this connection
   */
  isLive(channel) {
    return this.#live.has(channel);
  }

  /** @param {string} channel of which nothing is taken until it begins again */
  end(channel) {
    this.#live.delete(channel);
  }

  /** @param {string} channel */
  forget(channel) {
    this.end(channel);
    this.#positions.forget(channel);
    this.#unacknowledged.delete(channel);
  }

  /** Called when a frame has been handled. */
  save() {
    this.#positions.save();
  }

  /** The connection is gone; the next one acknowledges by what it resumes from. */
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
    this.#ackTimer = setTimeout(() => this.#acknowledgeAll(), ACK_DELAY);
  }

  #acknowledgeAll() {
    for (const channel of this.#unacknowledged) {
      const offset = this.#positions.get(channel)?.offset;
      if (offset !== undefined) this.#acknowledge(channel, offset);
    }
    this.#unacknowledged.clear();
  }
}
