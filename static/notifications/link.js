/**
 * The transport of a client: opens it, notices its silence, and opens the next one.
 *
 * @import { Closed, Transport } from "./transport.js"
 * @import { ConnectResult } from "./protocol.js"
 *
 * @typedef {object} Opener opens transports, and learns how they fare
 * @property {() => void} start the client wants to be connected from now on
 * @property {() => void} stop
 * @property {() => Transport} open
 * @property {() => void} answered
 * @property {() => void} failed
 * @property {() => void} reset
 * @property {string} name of the present transport
 * @property {boolean} isTrying the next attempt need not wait
 * @property {boolean} isFallback
 * @property {(timeout: number) => Promise<boolean>} probe
 *
 * @typedef {object} Listener
 * @property {() => void} opened
 * @property {(frame: string) => void} received
 * @property {(closed: Closed) => void} closed
 * @property {() => void} silent nothing has come for the time that was agreed
 */
import { CONNECTING, OPEN } from "./transport.js";

/** From this close code on, it is the server that has closed the connection. */
const BY_SERVER = 3000;

export class Link {
  /** @type {Transport | null} */
  #transport = null;
  /** @type {Transport | null} */
  #leaving = null;
  #isAnswered = false;
  #retryTimer = 0;
  #silenceTimer = 0;
  #patience = 0;
  #opener;
  #timeout;
  #listener;

  /**
   * @param {Opener} opener
   * @param {number} timeout milliseconds until something must have come over a new transport
   * @param {Listener} listener
   */
  constructor(opener, timeout, listener) {
    this.#opener = opener;
    this.#timeout = timeout;
    this.#listener = listener;
  }

  /** The transport, null without one. */
  get transport() {
    return this.#transport;
  }

  /** Whether the next transport is opened after a pause. */
  get isWaiting() {
    return this.#retryTimer !== 0;
  }

  open() {
    this.cancel();
    // Browsers delay a handshake while another one with the same host is in progress.
    this.#leaving?.close();
    const transport = this.#opener.open();
    this.#transport = transport;
    this.#isAnswered = false;
    transport.onopen = () => this.#listener.opened();
    transport.onmessage = ({ data }) => this.#received(data);
    transport.onclose = (closed) => this.#closed(closed);
    // A proxy may accept the handshake and never answer it.
    this.expect(transport.isPatient ? 0 : this.#timeout);
  }

  /** @param {number} pause milliseconds */
  openLater(pause) {
    this.cancel();
    this.#retryTimer = setTimeout(() => this.open(), pause);
  }

  cancel() {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = 0;
  }

  /** @param {number} patience milliseconds until the next frame must have come; 0 for ever */
  expect(patience) {
    this.#patience = patience;
    clearTimeout(this.#silenceTimer);
    if (patience) this.#silenceTimer = setTimeout(() => this.#silent(), patience);
  }

  /** Closes a WebSocket that is opening after it has opened; otherwise browsers log an error. */
  leave() {
    const transport = this.#transport;
    if (!(transport instanceof WebSocket) || transport.readyState !== CONNECTING) return;
    this.#transport = null;
    this.#leaving = transport;
    transport.onmessage = transport.onclose = null;
    transport.onopen = () => transport.close();
  }

  /** @param {boolean} hasFailed whether it matters that the server has not answered */
  drop(hasFailed) {
    const transport = this.#transport;
    this.#transport = null;
    clearTimeout(this.#silenceTimer);
    if (!transport) return;
    if (hasFailed && !this.#isAnswered) this.#opener.failed();
    transport.onopen = transport.onmessage = transport.onclose = null;
    transport.close();
  }

  /** @param {string} frame */
  send(frame) {
    if (this.#transport?.readyState === OPEN) this.#transport.send(frame);
  }

  /** @param {ConnectResult} result */
  join(result) {
    this.#transport?.join?.(result);
  }

  /** @param {string} frame */
  #received(frame) {
    this.#answered();
    this.expect(this.#patience);
    this.#listener.received(frame);
  }

  /** @param {Closed} closed */
  #closed(closed) {
    if (closed.code >= BY_SERVER) this.#answered();
    this.#listener.closed(closed);
  }

  #answered() {
    if (this.#isAnswered) return;
    this.#isAnswered = true;
    this.#opener.answered();
  }

  #silent() {
    if (this.#transport) this.#listener.silent();
  }
}
