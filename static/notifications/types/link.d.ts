import type { Closed, Transport } from "./transport.js";
import type { ConnectResult } from "./protocol.js";
export type Opener = {
    /**
     * the client wants to be connected from now on
     */
    start: () => void;
    stop: () => void;
    open: () => Transport;
    answered: () => void;
    failed: () => void;
    reset: () => void;
    /**
     * of the present transport
     */
    name: string;
    /**
     * the next attempt need not wait
     */
    isTrying: boolean;
    isFallback: boolean;
    probe: (timeout: number) => Promise<boolean>;
};
export type Listener = {
    opened: () => void;
    received: (frame: string) => void;
    closed: (closed: Closed) => void;
    /**
     * nothing has come for the time that was agreed
     */
    silent: () => void;
};
export declare class Link {
    #private;
    /**
     * @param {Opener} opener
     * @param {number} timeout milliseconds until something must have come over a new transport
     * @param {Listener} listener
     */
    constructor(opener: Opener, timeout: number, listener: Listener);
    /** The transport, null without one. */
    get transport(): Transport | null;
    /** Whether the next transport is opened after a pause. */
    get isWaiting(): boolean;
    open(): void;
    /** @param {number} pause milliseconds */
    openLater(pause: number): void;
    cancel(): void;
    /** @param {number} patience milliseconds until the next frame must have come; 0 for ever */
    expect(patience: number): void;
    /** Closes a WebSocket that is opening after it has opened; otherwise browsers log an error. */
    leave(): void;
    /** @param {boolean} hasFailed whether it matters that the server has not answered */
    drop(hasFailed: boolean): void;
    /** @param {string} frame */
    send(frame: string): void;
    /** @param {ConnectResult} result */
    join(result: ConnectResult): void;
}
