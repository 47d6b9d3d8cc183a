/**
 * The positions of a user in all streams, kept across page loads.
 *
 * Each user of a browser has a separate record, so that nobody resumes at the position of another
 * user. Tabs share the record; a tab never moves a stored position of the same epoch back, except
 * by {@link Positions.replace}.
 *
 * @import { Position } from "./protocol.js"
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
   * @param {string} endpoint distinguishes several sites on one origin
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
   * Sets a position that overrides a later stored one, from which the server cannot recover.
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

  /** Writes changed positions. Called after the application has handled the publications. */
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
      // The storage is full or forbidden: this page keeps its positions in memory, and the next
      // page starts from those that the server knows.
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

/** @returns {Storage | null} null if the browser forbids it */
export function localStorageOrNull() {
  try {
    return globalThis.localStorage ?? null;
  } catch {
    return null;
  }
}
