import type { ConnectResult, Content, Position } from "./protocol.js";
import type { Opener } from "./link.js";
import type { Addresses, TransportName } from "./transport.js";
export type State = "disconnected" | "connecting" | "connected";
export type Connected = {
    /**
     * id of the connection
     */
    client: string;
    /**
     * `websocket`, `http_stream`, `sse`, or `shared` with other tabs
     */
    transport: string;
    data: NonNullable<ConnectResult["data"]>;
    /**
     * seconds between two heartbeats of the server; 0 for none
     */
    ping: number;
    /**
     * whether it is not the first connection of this page
     */
    reconnected: boolean;
};
export type Events = {
    connecting: {
        code: number;
        reason: string;
    };
    connected: Connected;
    /**
     * the client will not reconnect by itself
     */
    disconnected: {
        code: number;
        reason: string;
    };
    error: {
        type: string;
        error: Error;
    };
    /**
     *   `wasRecovering` without `recovered`: publications were missed and have to be fetched.
     *   `position`: where the stream is read from
     */
    subscribed: {
        channel: string;
        wasRecovering: boolean;
        recovered: boolean;
        position: Position;
    };
    unsubscribed: {
        channel: string;
        code: number;
        reason: string;
    };
    /**
     *   `recovered`: it was part of the reply to a connect or subscribe
     */
    publication: {
        channel: string;
        data: Content;
        offset: number;
        recovered: boolean;
    };
    message: {
        data: any;
    };
    /**
     * the reply to a call that had timed out:
     * the server has carried it out nevertheless
     */
    late: {
        method: string;
        data: any;
        result: any;
    };
    /**
     * the server's heartbeat
     */
    ping: {};
};
export type Options = {
    /**
     * channels to subscribe to on every connection
     */
    topics?: string[];
    /**
     * topics that the user followed when the page was rendered. The
     * client subscribes to these, and to those that other devices join while it is disconnected.
     */
    followed?: string[];
    minReconnectDelay?: number;
    maxReconnectDelay?: number;
    /**
     * for the reply to a command
     */
    timeout?: number;
    /**
     * how late a ping may be
     */
    maxServerPingDelay?: number;
    storage?: Pick<Storage, "getItem" | "setItem"> | null;
    /**
     * `websocket`, `http_stream` and `sse`, or some of them, in
     * the order in which they are tried
     */
    transports?: TransportName[];
    /**
     * where the transports are, if they are not beside the endpoint
     */
    addresses?: Addresses;
    /**
     * opens a connection that pages share; null if
     * this page cannot
     */
    share?: (page: Sharing) => Opener | null;
};
export type Sharing = {
    endpoint: string;
    userId: string;
    positions: () => [string, Position][];
    /**
     * topics that the user is known to follow
     */
    followed: () => string[];
    /**
     * see {@link Options}
     */
    transports: TransportName[] | undefined;
    /**
     * see {@link Options}
     */
    addresses: Addresses | undefined;
};
/** Reasons of `connecting` and `disconnected`, besides the close codes of the server. */
export declare const reasons: Readonly<{
    connectCalled: {
        code: number;
        reason: string;
    };
    transportClosed: {
        code: number;
        reason: string;
    };
    noPing: {
        code: number;
        reason: string;
    };
    subscribeTimeout: {
        code: number;
        reason: string;
    };
    disconnectCalled: {
        code: number;
        reason: string;
    };
    unauthorized: {
        code: number;
        reason: string;
    };
}>;
