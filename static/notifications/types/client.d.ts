import type { Events, Options, State } from "./events.js";
import type { Addresses } from "./transport.js";
import type { Command, ProtocolError } from "./protocol.js";
import type { Handle } from "./requests.js";
/**
 * A client of the server, which connects, recovers, reconnects and acknowledges.
 *
 * `connect`, `disconnect`, `on`, `rpc`, the states and their codes have the names of the Centrifuge
 * SDKs. Each publication is emitted once, in the order of its stream.
 *
 * @import { Events, Options, State } from "./events.js"
 * @import { Addresses } from "./transport.js"
 * @import { Opener } from "./link.js"
 * @import { Command, ConnectResult, ProtocolError, Push, Reply } from "./protocol.js"
 * @import { Handle } from "./requests.js"
 */
import { Backoff } from "./backoff.js";
import { Emitter } from "./emitter.js";
/** @extends {Emitter<Events>} */
export declare class Client extends Emitter<Events> {
    #private;
    timeout: number;
    maxServerPingDelay: number;
    minReconnectDelay: number;
    maxReconnectDelay: number;
    backoff: Backoff;
    endpoint: string;
    userId: string;
    /**
     * @param {string} endpoint path or URL of the socket; it stands for the site
     * @param {string} userId the user for whom the page was rendered
     * @param {Options} [options]
     */
    constructor(endpoint: string, userId: string, options?: Options);
    /**
     * Switches to another user: closes the connection, and keeps no state of the previous user. Call
     * `connect` afterwards.
     *
     * @param {string} endpoint
     * @param {string} userId the new user
     * @param {string[]} [followed] see {@link Options}
     * @param {Addresses} [addresses] see {@link Options}
     */
    become(endpoint: string, userId: string, followed?: string[], addresses?: Addresses): void;
    /** @returns {State} */
    get state(): State;
    /** The topics that the user is known to follow. */
    get followed(): string[];
    /**
     * @param {string} channel
     * @returns {number} the offset up to which the stream has been read
     */
    reached(channel: string): number;
    connect(): void;
    disconnect(): void;
    /** Reconnects without a pause, or tests the connection, because the user is waiting for it. */
    wake(): void;
    /**
     * Calls a procedure, and retries after a pause when the server replies with a temporary error.
     *
     * @param {string} method
     * @param {object} [data]
     * @returns {Promise<any>} rejected with a ProtocolError: refused, timeout, not connected
     */
    rpc(method: string, data?: object): Promise<any>;
    /**
     * Reads a topic on this and every later connection. A user who does not follow it yet joins it.
     *
     * @param {string} channel such as `topic:news`
     * @returns {Promise<void>} rejected if it is refused or takes too long; after a temporary error
     *   the client retries
     */
    subscribe(channel: string): Promise<void>;
    /**
     * Stops reading a topic. The user goes on following it: its notifications stay in the inbox, and
     * later ones are sent when the client subscribes again.
     *
     * @param {string} channel
     */
    unsubscribe(channel: string): Promise<void>;
    /**
     * Ends the user's subscription to a topic for good, on all devices.
     *
     * @param {string} channel
     * @returns {Promise<{unread?: number}>}
     */
    leave(channel: string): Promise<{
        unread?: number;
    }>;
    /** @param {string} channel a topic that the user has left */
    drop(channel: string): void;
    /**
     * Sends a command once, and hands over its reply as it is.
     *
     * @param {Command} command
     * @param {Handle} handle
     * @param {(error: ProtocolError) => void} fail called on a timeout, or without a connection
     */
    send(command: Command, handle: Handle, fail: (error: ProtocolError) => void): void;
}
