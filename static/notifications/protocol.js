/**
 * Frames and codes of the Centrifuge client protocol, version 2, JSON form. No I/O.
 *
 * Source: https://centrifugal.dev/docs/transports/client_protocol
 *
 * @typedef {"debug" | "info" | "success" | "warning" | "error"} Level
 *
 * @typedef {object} Content what a publication carries
 * @property {number} id
 * @property {string} [kind] a dotted slug such as `order.shipped`
 * @property {Level} [level]
 * @property {string} title
 * @property {string} [body]
 * @property {string} [url]
 * @property {any} [data]
 * @property {{id: string, name: string}} [actor]
 * @property {string} [created] ISO 8601
 * @property {string} [expires] ISO 8601
 *
 * @typedef {{epoch: string, offset: number}} Position
 * @typedef {{data: Content, offset?: number}} Publication
 *
 * @typedef {object} SubscribeResult
 * @property {string} [epoch]
 * @property {number} [offset]
 * @property {boolean} [was_recovering]
 * @property {boolean} [recovered]
 * @property {Publication[]} [publications]
 *
 * @typedef {object} ConnectResult
 * @property {string} client
 * @property {{unread?: number, user?: {id: string, name: string}, topics?: string[]}} [data]
 *   `topics`: channels of the topics that the user follows, for the client to subscribe to
 * @property {Record<string, SubscribeResult>} [subs]
 * @property {number} [ping] seconds between two pings of the server
 * @property {boolean} [pong] whether the server expects an answer to its pings
 * @property {string} [session] names the session in requests of an emulation, with `node`
 * @property {string} [node]
 *
 * @typedef {object} ErrorReply
 * @property {number} code
 * @property {string} message
 * @property {boolean} [temporary]
 *
 * @typedef {object} Push
 * @property {string} [channel]
 * @property {Publication} [pub]
 * @property {{data: any}} [message]
 * @property {SubscribeResult} [subscribe]
 * @property {{code?: number, reason?: string}} [unsubscribe]
 * @property {{code?: number, reason?: string}} [disconnect]
 *
 * @typedef {object} Reply
 * @property {number} [id]
 * @property {ErrorReply} [error]
 * @property {ConnectResult} [connect]
 * @property {SubscribeResult} [subscribe]
 * @property {object} [unsubscribe]
 * @property {{data?: any}} [rpc]
 * @property {Push} [push]
 *
 * @typedef {Record<string, unknown> & {id?: number}} Command
 */

/** The answer to a ping. */
export const PONG = "{}";

export const UNAUTHORIZED = 101;
export const ALREADY_SUBSCRIBED = 105;

/** An error reply, a timeout or a lost connection. */
export class ProtocolError extends Error {
  /** @param {ErrorReply} reply */
  constructor({ code, message, temporary = false }) {
    super(message);
    this.name = "ProtocolError";
    this.code = code;
    this.temporary = temporary;
  }
}

/**
 * @param {any} error of a command
 * @returns {ErrorReply}
 */
export function toReply({ code = 100, message = "internal error", temporary = true }) {
  return { code, message, temporary };
}

/**
 * @param {(Command | Reply)[]} commands
 * @returns {string} a frame, one command per line
 */
export function encodeFrame(commands) {
  return commands.map((command) => JSON.stringify(command)).join("\n");
}

/**
 * @param {string} frame
 * @returns {Reply[]} an empty reply is a ping
 * @throws {SyntaxError} a line is not a JSON object
 */
export function decodeFrame(frame) {
  return frame
    .split("\n")
    .filter((line) => line.trim())
    .map(decodeReply);
}

/**
 * @param {string} line
 * @returns {Reply}
 */
function decodeReply(line) {
  const reply = JSON.parse(line);
  if (typeof reply !== "object" || reply === null || Array.isArray(reply)) {
    throw new SyntaxError("a reply is an object");
  }
  return reply;
}

/**
 * @param {Reply} reply
 * @returns {boolean}
 */
export function isPing(reply) {
  return Object.keys(reply).length === 0;
}

/**
 * Whether the client must not reconnect after this close code.
 *
 * @param {number} code
 * @returns {boolean}
 */
export function isTerminal(code) {
  return code === 1009 || (code >= 3500 && code < 4000) || (code >= 4500 && code < 5000);
}
