/**
 * Commands that wait for their replies.
 *
 * @typedef {import("./backoff.js").Backoff} Backoff
 * @typedef {import("./protocol.js").Command} Command
 * @typedef {import("./protocol.js").Reply} Reply
 * @typedef {(reply: Reply, isLate: boolean) => void} Handle `isLate`: it has been told to fail
 * @typedef {{handle: Handle, fail: (error: ProtocolError) => void, timer: number, isLate: boolean}} Waiting
 */
import { ProtocolError, encodeFrame } from "./protocol.js";

/** Code of the error of a command that has no connection, or has lost it. */
export const NOT_CONNECTED = 5;

/** How often a call is sent in all, while the server answers that it cannot do it for now. */
const ATTEMPTS = 5;

export class Requests {
  /** @type {Map<number, Waiting>} */
  #waiting = new Map();
  #lastId = 0;
  #timeout;

  /** @param {number} timeout milliseconds until a command without a reply fails */
  constructor(timeout) {
    this.#timeout = timeout;
  }

  /**
   * A reply that comes after the timeout is handled, too: the server has done what it says, and
   * what it carries will not be sent again.
   *
   * @param {WebSocket | null} socket
   * @param {Command} command
   * @param {Handle} handle runs before the next line of the frame is looked at
   * @param {(error: ProtocolError) => void} fail no reply in time, or no connection
   */
  send(socket, command, handle, fail) {
    if (socket?.readyState !== WebSocket.OPEN) {
      fail(notConnected());
      return;
    }
    const id = (this.#lastId += 1);
    /** @type {Waiting} */
    const waiting = { handle, fail, timer: 0, isLate: false };
    waiting.timer = setTimeout(() => {
      waiting.isLate = true;
      fail(new ProtocolError({ code: 1, message: "timeout", temporary: true }));
    }, this.#timeout);
    this.#waiting.set(id, waiting);
    socket.send(encodeFrame([{ id, ...command }]));
  }

  /**
   * Sends what may be sent again: while the answer is a temporary error, on the same connection.
   *
   * @param {WebSocket | null} socket
   * @param {Command} command
   * @param {Backoff} backoff
   * @param {(reply: Reply) => void} [late] takes an answer that comes after the timeout
   * @returns {Promise<Reply>} rejected with a ProtocolError: refused, no answer, not connected
   */
  async call(socket, command, backoff, late) {
    for (let left = ATTEMPTS - 1; ; left -= 1) {
      const reply = await this.#ask(socket, command, late);
      if (!reply.error) return reply;
      if (!reply.error.temporary || !left) throw new ProtocolError(reply.error);
      await new Promise((resolve) => setTimeout(resolve, backoff.next()));
    }
  }

  /**
   * @param {WebSocket | null} socket
   * @param {Command} command
   * @param {(reply: Reply) => void} [late]
   * @returns {Promise<Reply>}
   */
  #ask(socket, command, late) {
    return new Promise((resolve, reject) => {
      /** @type {Handle} */
      const handle = (reply, isLate) => {
        if (!isLate) resolve(reply);
        else if (!reply.error) late?.(reply);
      };
      this.send(socket, command, handle, reject);
    });
  }

  /** @param {Reply} reply */
  settle(reply) {
    const id = reply.id ?? 0;
    const waiting = this.#waiting.get(id);
    if (!waiting) return;
    this.#waiting.delete(id);
    clearTimeout(waiting.timer);
    waiting.handle(reply, waiting.isLate);
  }

  /** The connection is gone, and with it every answer. */
  failAll() {
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { fail, timer, isLate } of waiting) {
      clearTimeout(timer);
      if (!isLate) fail(notConnected());
    }
  }
}

export function notConnected() {
  return new ProtocolError({ code: NOT_CONNECTED, message: "not connected", temporary: true });
}
