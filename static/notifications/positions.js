/**
 * How far a user has come in each stream, kept across page loads.
 *
 * Every user of a browser has a record of their own, so that nobody resumes at the position of
 * somebody else. Tabs share the record; what a tab writes never takes another tab's position back.
 *
 * @typedef {import("./protocol.js").Position} Position
 */
export class Positions {
  /** @type {Map<string, Position>} */
  #positions = new Map();
  /** @type {Set<string>} */
  #replaced = new Set();
  #changed = false;
  #key;
  #storage;

  /**
   * @param {string} endpoint tells apart several sites on one origin
   * @param {string} userId
   * @param {Pick<Storage, "getItem" | "setItem"> | null} storage null keeps positions in memory only
   */
  constructor(endpoint, userId, storage) {
    this.#key = `notifications:${endpoint}:${userId}`;
    this.#storage = storage;
    this.#positions = new Map(Object.entries(this.#read()));
  }

  /**
   * @param {string} channel
   * @returns {Position | undefined}
   */
  get(channel) {
    return this.#positions.get(channel);
  }

  /** @returns {[string, Position][]} */
  entries() {
    return [...this.#positions];
  }

  /**
   * @param {string} channel
   * @param {Position} position
   */
  set(channel, position) {
    this.#positions.set(channel, position);
    this.#changed = true;
  }

  /**
   * Sets a position that holds even where the stored one is later: the server cannot serve that.
   *
   * @param {string} channel
   * @param {Position} position
   */
  replace(channel, position) {
    this.set(channel, position);
    this.#replaced.add(channel);
  }

  /** @param {string} channel */
  forget(channel) {
    this.#changed = this.#positions.delete(channel) || this.#changed;
  }

  /** Writes what has changed. Called after the application has handled what led here. */
  save() {
    if (!this.#changed) return;
    this.#changed = false;
    const stored = this.#read();
    const record = Object.fromEntries(
      this.entries().map(([channel, position]) => [
        channel,
        this.#replaced.has(channel) ? position : later(position, stored[channel]),
      ]),
    );
    this.#replaced.clear();
    try {
      this.#storage?.setItem(this.#key, JSON.stringify(record));
    } catch {
      // The storage is full or forbidden: this page goes on from memory, the next one from what
      // the server knows.
      this.#storage = null;
    }
  }

  /** @returns {Record<string, Position>} */
  #read() {
    try {
      const record = JSON.parse(this.#storage?.getItem(this.#key) ?? "{}");
      return Object.fromEntries(Object.entries(record).filter(([, value]) => isPosition(value)));
    } catch {
      return {};
    }
  }
}

/**
 * @param {Position} position
 * @param {Position | undefined} stored
 * @returns {Position}
 */
function later(position, stored) {
  if (stored?.epoch !== position.epoch || stored.offset < position.offset) return position;
  return stored;
}

/**
 * @param {any} value
 * @returns {boolean}
 */
function isPosition(value) {
  return typeof value?.epoch === "string" && Number.isSafeInteger(value.offset) && value.offset >= 0;
}

/** @returns {Storage | null} null where the browser forbids it */
export function localStorageOrNull() {
  try {
    return globalThis.localStorage ?? null;
  } catch {
    return null;
  }
}
