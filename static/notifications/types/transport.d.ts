export type TransportName = "websocket" | "http_stream" | "sse";
export type Addresses = Partial<Record<TransportName | "emulation", string>>;
export type Closed = {
    code: number;
    reason: string;
    /**
     * the client must not come back, whatever the code
     */
    isFinal?: boolean;
    /**
     * both sides have ended the connection in an orderly way
     */
    wasClean?: boolean;
};
export type Transport = {
    /**
     * as of a WebSocket
     */
    readyState: number;
    onopen: (() => void) | null;
    /**
     * one or more frames
     */
    onmessage: ((event: {
        data: string;
    }) => void) | null;
    /**
     * not called after `close()`
     */
    onclose: ((event: Closed) => void) | null;
    send: (frame: string) => void;
    close: () => void;
    /**
     * it has a time limit of its own for opening
     */
    isPatient?: boolean;
    /**
     * something suggests that connecting may work again
     */
    wake?: () => void;
    /**
     * names the server's session
     */
    join?: (result: {
        session?: string;
        node?: string;
    }) => void;
};
export declare const CONNECTING = 0;
export declare const OPEN = 1;
export declare const CLOSED = 3;
/** Close code of a connection that ended without one. */
export declare const ABNORMAL = 1006;
/**
 * @param {string} address of the WebSocket
 * @returns {Transport}
 */
export declare function openWebSocket(address: string): Transport;
/**
 * @param {string} [address] path or URL of a request
 * @returns {URL}
 */
export declare function requestUrl(address?: string): URL;
/**
 * @param {string} endpoint path or URL of the WebSocket
 * @returns {Addresses} where the server has everything, unless its settings say otherwise
 */
export declare function defaultAddresses(endpoint: string): Addresses;
