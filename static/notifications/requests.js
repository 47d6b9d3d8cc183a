/**
 * Commands that wait for their replies.
 *
 * @typedef {import("./protocol.js").Command} Command
 * @typedef {import("./protocol.js").Reply} Reply
 * @typedef {{handle: (reply: Reply) => void, fail: (error: Error) => void, timer: number}} Waiting
 */
import { ProtocolError, encodeFrame } from "./protocol.js";

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
   * @param {WebSocket | null} socket
   * @param {Command} command
   * @param {(reply: Reply) => void} handle runs before the next line of the frame is looked at
   * @param {(error: Error) => void} fail no reply in time, or no connection
   */
  send(socket, command, handle, fail) {
    if (socket?.readyState !== WebSocket.OPEN) {
      fail(notConnected());
      return;
    }
    const id = (this.#lastId += 1);
    const timer = setTimeout(() => {
      this.#waiting.delete(id);
      fail(new ProtocolError({ code: 1, message: "timeout", temporary: true }));
    }, this.#timeout);
    this.#waiting.set(id, { handle, fail, timer });
    socket.send(encodeFrame([{ id, ...command }]));
  }

  /** @param {Reply} reply */
  settle(reply) {
    const id = reply.id ?? 0;
    const waiting = this.#waiting.get(id);
    if (!waiting) return;
    this.#waiting.delete(id);
    clearTimeout(waiting.timer);
    waiting.handle(reply);
  }

  /** The connection is gone, and with it every answer. */
  failAll() {
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { fail, timer } of waiting) {
      clearTimeout(timer);
      fail(notConnected());
    }
  }
}

export function notConnected() {
  return new ProtocolError({ code: 5, message: "not connected", temporary: true });
}
