/**
 * Matches replies to the commands that wait for them.
 *
 * @import { Backoff } from "./backoff.js"
 * @import { Command, Reply } from "./protocol.js"
 * @import { Transport } from "./transport.js"
 * @typedef {(reply: Reply, isLate: boolean) => void} Handle `isLate`: the command has timed out, and
 *   its `fail` was called
 * @typedef {{handle: Handle, fail: (error: ProtocolError) => void, timer: number, isLate: boolean}} Waiting
 */
import { ProtocolError, encodeFrame } from "./protocol.js";
import { OPEN } from "./transport.js";

/** Error code of a command that was sent without a connection, or whose connection was lost. */
export const NOT_CONNECTED = 5;

/** How often a call is sent in total, while the server replies with temporary errors. */
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
   * Sends a command. A reply after the timeout is handled, too: the server has carried out the
   * command, and will not send the content of the reply again.
   *
   * @param {Transport | null} transport
   * @param {Command} command
   * @param {Handle} handle runs before the next reply of the frame is handled
   * @param {(error: ProtocolError) => void} fail called on a timeout, or without a connection
   */
  send(transport, command, handle, fail) {
    if (transport?.readyState !== OPEN) {
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
    transport.send(encodeFrame([{ id, ...command }]));
  }

  /**
   * Sends an idempotent command, and again on the same connection after each temporary error.
   *
   * @param {Transport | null} transport
   * @param {Command} command
   * @param {Backoff} backoff
   * @param {(reply: Reply) => void} [late] gets a reply that arrives after the timeout
   * @returns {Promise<Reply>} rejected with a ProtocolError: refused, timeout, not connected
   */
  async call(transport, command, backoff, late) {
    for (let left = ATTEMPTS - 1; ; left -= 1) {
      const reply = await this.#ask(transport, command, late);
      if (!reply.error) return reply;
      if (!reply.error.temporary || !left) throw new ProtocolError(reply.error);
      await new Promise((resolve) => setTimeout(resolve, backoff.next()));
    }
  }

  /**
   * @param {Transport | null} transport
   * @param {Command} command
   * @param {(reply: Reply) => void} [late]
   * @returns {Promise<Reply>}
   */
  #ask(transport, command, late) {
    return new Promise((resolve, reject) => {
      /** @type {Handle} */
      const handle = (reply, isLate) => {
        if (!isLate) resolve(reply);
        else if (!reply.error) late?.(reply);
      };
      this.send(transport, command, handle, reject);
    });
  }

  /** Whether no command waits for its reply. */
  get isIdle() {
    return [...this.#waiting.values()].every(({ isLate }) => isLate);
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

  /** Fails all waiting commands, because the connection is lost. */
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
