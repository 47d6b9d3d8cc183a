/**
 * Named events with typed contexts.
 *
 * Handlers run synchronously, in the order they were added. An exception in one is reported to the
 * console, and affects neither the other handlers nor the caller.
 *
 * @template {Record<string, any>} Events
 */
export class Emitter {
  /** @type {Map<keyof Events, Set<(context: any) => void>>} */
  #handlers = new Map();

  /**
   * Calls the handler at each event of this name.
   *
   * @template {keyof Events} Name
   * @param {Name} name
   * @param {(context: Events[Name]) => void} handler
   * @returns {this}
   */
  on(name, handler) {
    const handlers = this.#handlers.get(name) ?? new Set();
    this.#handlers.set(name, handlers.add(handler));
    return this;
  }

  /**
   * Stops calling the handler.
   *
   * @template {keyof Events} Name
   * @param {Name} name
   * @param {(context: Events[Name]) => void} handler
   * @returns {this}
   */
  off(name, handler) {
    this.#handlers.get(name)?.delete(handler);
    return this;
  }

  /**
   * @template {keyof Events} Name
   * @param {Name} name
   * @param {Events[Name]} context
   */
  emit(name, context) {
    for (const handler of [...(this.#handlers.get(name) ?? [])]) {
      try {
        handler(context);
      } catch (error) {
        reportError(error);
      }
    }
  }
}
