export type Level = "debug" | "info" | "success" | "warning" | "error";
export type Content = {
    id: number;
    /**
     * a dotted slug such as `order.shipped`
     */
    kind?: string;
    level?: Level;
    title: string;
    body?: string;
    url?: string;
    data?: any;
    actor?: {
        id: string;
        name: string;
    };
    /**
     * ISO 8601
     */
    created?: string;
    /**
     * ISO 8601
     */
    expires?: string;
};
export type Position = {
    epoch: string;
    offset: number;
};
export type Publication = {
    data: Content;
    offset?: number;
};
export type SubscribeResult = {
    epoch?: string;
    offset?: number;
    was_recovering?: boolean;
    recovered?: boolean;
    publications?: Publication[];
};
export type ConnectResult = {
    client: string;
    /**
     * `topics`: channels of the topics that the user follows, for the client to subscribe to
     */
    data?: {
        unread?: number;
        user?: {
            id: string;
            name: string;
        };
        topics?: string[];
    };
    subs?: Record<string, SubscribeResult>;
    /**
     * seconds between two pings of the server
     */
    ping?: number;
    /**
     * whether the server expects an answer to its pings
     */
    pong?: boolean;
    /**
     * names the session in requests of an emulation, with `node`
     */
    session?: string;
    node?: string;
};
export type ErrorReply = {
    code: number;
    message: string;
    temporary?: boolean;
};
export type Push = {
    channel?: string;
    pub?: Publication;
    message?: {
        data: any;
    };
    subscribe?: SubscribeResult;
    unsubscribe?: {
        code?: number;
        reason?: string;
    };
    disconnect?: {
        code?: number;
        reason?: string;
    };
};
export type Reply = {
    id?: number;
    error?: ErrorReply;
    connect?: ConnectResult;
    subscribe?: SubscribeResult;
    unsubscribe?: object;
    rpc?: {
        data?: any;
    };
    push?: Push;
};
export type Command = Record<string, unknown> & {
    id?: number;
};
/** The answer to a ping. */
export declare const PONG = "{}";
export declare const UNAUTHORIZED = 101;
export declare const ALREADY_SUBSCRIBED = 105;
/** An error reply, a timeout or a lost connection. */
export declare class ProtocolError extends Error {
    code: number;
    temporary: boolean;
    /** @param {ErrorReply} reply */
    constructor({ code, message, temporary }: ErrorReply);
}
/**
 * @param {any} error of a command
 * @returns {ErrorReply}
 */
export declare function toReply({ code, message, temporary }: any): ErrorReply;
/**
 * @param {(Command | Reply)[]} commands
 * @returns {string} a frame, one command per line
 */
export declare function encodeFrame(commands: (Command | Reply)[]): string;
/**
 * @param {string} frame
 * @returns {Reply[]} an empty reply is a ping
 * @throws {SyntaxError} a line is not a JSON object
 */
export declare function decodeFrame(frame: string): Reply[];
/**
 * @param {Reply} reply
 * @returns {boolean}
 */
export declare function isPing(reply: Reply): boolean;
/**
 * Whether the client must not reconnect after this close code.
 *
 * @param {number} code
 * @returns {boolean}
 */
export declare function isTerminal(code: number): boolean;
