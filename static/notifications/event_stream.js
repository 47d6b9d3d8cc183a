import { Emulation } from "./emulation.js";
import { ABNORMAL, CLOSED, CONNECTING, OPEN, beside } from "./transport.js";

/**
 * Receives frames as server-sent events (`EventSource`).
 *
 * The first frame that is sent, the connect command, is a parameter of the URL.
 *
 * @implements {Transport}
 * @typedef {import("./transport.js").Transport} Transport
 */
export class EventStream {
  readyState = CONNECTING;
  /** @type {Transport["onopen"]} */
  onopen = null;
  /** @type {Transport["onmessage"]} */
  onmessage = null;
  /** @type {Transport["onclose"]} */
  onclose = null;
  #url;
  #emulation;
  /** @type {EventSource | null} */
  #source = null;

  /** @param {URL} endpoint of the WebSocket */
  constructor(endpoint) {
    this.#url = beside(endpoint, "sse");
    this.#emulation = new Emulation(beside(endpoint, "../emulation"), () => this.#ended());
    queueMicrotask(() => {
      if (this.readyState !== CONNECTING) return;
      this.readyState = OPEN;
      this.onopen?.();
    });
  }

  /** @param {string} frame */
  send(frame) {
    if (this.#source) {
      this.#emulation.send(frame);
      return;
    }
    this.#url.searchParams.set("cf_connect", frame);
    this.#source = new EventSource(this.#url, { withCredentials: true });
    this.#source.onmessage = ({ data }) => this.onmessage?.({ data });
    // An EventSource would send the same connect command again, with positions of the past.
    this.#source.onerror = () => this.#ended();
  }

  /** @param {{session?: string, node?: string}} result */
  join(result) {
    this.#emulation.join(result);
  }

  close() {
    this.readyState = CLOSED;
    this.#emulation.stop();
    if (this.#source) this.#source.onmessage = this.#source.onerror = null;
    this.#source?.close();
  }

  #ended() {
    if (this.readyState === CLOSED) return;
    this.close();
    this.onclose?.({ code: ABNORMAL, reason: "" });
  }
}
