/** Which tabs read which topics over a shared connection. */
export class TopicReaders {
  /** @type {Map<string, Set<string>>} tabs by channel */
  #tabs = new Map();

  /**
   * @param {string} tab
   * @param {string} channel
   */
  read(tab, channel) {
    const tabs = this.#tabs.get(channel) ?? new Set();
    this.#tabs.set(channel, tabs.add(tab));
  }

  /**
   * @param {string} tab
   * @param {string} channel
   * @returns {boolean} whether the tab was the last one to read it
   */
  stop(tab, channel) {
    const tabs = this.#tabs.get(channel);
    if (!tabs?.delete(tab) || tabs.size) return false;
    return this.#tabs.delete(channel);
  }

  /**
   * @param {string} tab
   * @returns {string[]} channels that no tab reads any more
   */
  left(tab) {
    return [...this.#tabs.keys()].filter((channel) => this.stop(tab, channel));
  }

  /**
   * @param {string} channel
   * @returns {boolean}
   */
  has(channel) {
    return this.#tabs.has(channel);
  }

  clear() {
    this.#tabs.clear();
  }
}
