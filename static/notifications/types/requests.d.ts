import type { Backoff } from "./backoff.js";
import type { Command, Reply } from "./protocol.js";
import type { Transport } from "./transport.js";
export type Handle = (reply: Reply, isLate: boolean) => void;
export type Waiting = {
    handle: Handle;
    fail: (error: ProtocolError) => void;
    timer: number;
    isLate: boolean;
};
import { ProtocolError } from "./protocol.js";
/** Error code of a command that was sent without a connection, or whose connection was lost. */
export declare const NOT_CONNECTED = 5;
export declare class Requests {
    #private;
    /** @param {number} timeout milliseconds until a command without a reply fails */
    constructor(timeout: number);
    /**
     * Sends a command. A reply after the timeout is handled, too: the server has carried out the
     * command, and will not send the content of the reply again.
     *
     * @param {Transport | null} transport
     * @param {Command} command
     * @param {Handle} handle runs before the next reply of the frame is handled
     * @param {(error: ProtocolError) => void} fail called on a timeout, or without a connection
     */
    send(transport: Transport | null, command: Command, handle: Handle, fail: (error: ProtocolError) => void): void;
    /**
     * Sends an idempotent command, and again on the same connection after each temporary error.
     *
     * @param {Transport | null} transport
     * @param {Command} command
     * @param {Backoff} backoff
     * @param {(reply: Reply) => void} [late] gets a reply that arrives after the timeout
     * @returns {Promise<Reply>} rejected with a ProtocolError: refused, timeout, not connected
     */
    call(transport: Transport | null, command: Command, backoff: Backoff, late?: (reply: Reply) => void): Promise<Reply>;
    /** Whether no command waits for its reply. */
    get isIdle(): boolean;
    /** @param {Reply} reply */
    settle(reply: Reply): void;
    /** Fails all waiting commands, because the connection is lost. */
    failAll(): void;
}
export declare function notConnected(): ProtocolError;
