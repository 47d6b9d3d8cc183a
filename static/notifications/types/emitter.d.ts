/**
 * Named events with typed contexts.
 *
 * Handlers run synchronously, in the order they were added. An exception in one is reported to the
 * console, and affects neither the other handlers nor the caller.
 *
 * @template {Record<string, any>} Events
 */
export declare class Emitter<Events extends Record<string, any>> {
    #private;
    /**
     * Calls the handler at each event of this name.
     *
     * @template {keyof Events} Name
     * @param {Name} name
     * @param {(context: Events[Name]) => void} handler
     * @returns {this}
     */
    on<Name extends keyof Events>(name: Name, handler: (context: Events[Name]) => void): this;
    /**
     * Stops calling the handler.
     *
     * @template {keyof Events} Name
     * @param {Name} name
     * @param {(context: Events[Name]) => void} handler
     * @returns {this}
     */
    off<Name extends keyof Events>(name: Name, handler: (context: Events[Name]) => void): this;
    /**
     * @template {keyof Events} Name
     * @param {Name} name
     * @param {Events[Name]} context
     */
    emit<Name extends keyof Events>(name: Name, context: Events[Name]): void;
}
