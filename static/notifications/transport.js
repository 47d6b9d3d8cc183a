/**
 * The ways to exchange frames with the server. Each looks like a WebSocket, the first of them is one.
 *
 * The others are for networks that break WebSockets. The server's frames arrive in the response to
 * one long request, and the client's frames travel in a POST request each ("emulation"):
 * https://centrifugal.dev/docs/transports/http_stream
 *
 * @typedef {"websocket" | "http_stream" | "sse"} TransportName
 *
 * @typedef {Partial<Record<TransportName | "emulation", string>>} Addresses paths or URLs of the
 *   transports, and of the requests with the client's frames. What is missing is off.
 *
 * @typedef {object} Closed
 * @property {number} code
 * @property {string} reason
 * @property {boolean} [isFinal] the client must not come back, whatever the code
 * @property {boolean} [wasClean] both sides have ended the connection in an orderly way
 *
 * @typedef {object} Transport
 * @property {number} readyState as of a WebSocket
 * @property {(() => void) | null} onopen
 * @property {((event: {data: string}) => void) | null} onmessage one or more frames
 * @property {((event: Closed) => void) | null} onclose not called after `close()`
 * @property {(frame: string) => void} send
 * @property {() => void} close
 * @property {boolean} [isPatient] it has a time limit of its own for opening
 * @property {() => void} [wake] something suggests that connecting may work again
 * @property {(result: {session?: string, node?: string}) => void} [join] names the server's session
 */
export const CONNECTING = 0;
export const OPEN = 1;
export const CLOSED = 3;

/** Close code of a connection that ended without one. */
export const ABNORMAL = 1006;

/**
 * @param {string} address of the WebSocket
 * @returns {Transport}
 */
export function openWebSocket(address) {
  const url = new URL(address, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  return /** @type {any} */ (new WebSocket(url));
}

/**
 * @param {string} [address] path or URL of a request
 * @returns {URL}
 */
export function requestUrl(address = "") {
  const url = new URL(address, location.href);
  url.protocol = url.protocol.replace("ws", "http");
  return url;
}

/**
 * @param {string} endpoint path or URL of the WebSocket
 * @returns {Addresses} where the server has everything, unless its settings say otherwise
 */
export function defaultAddresses(endpoint) {
  const beside = (/** @type {string} */ path) => new URL(path, new URL(endpoint, location.href)).href;
  return {
    websocket: endpoint,
    http_stream: beside("http_stream"),
    sse: beside("sse"),
    emulation: beside("../emulation"),
  };
}
