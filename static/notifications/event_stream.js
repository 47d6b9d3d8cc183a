import { EmulatedTransport } from "./emulation.js";

/**
 * Receives frames as server-sent events (`EventSource`).
 *
 * The first frame that is sent, the connect command, is a parameter of the URL.
 */
export class EventStream extends EmulatedTransport {
  #url;
  /** @type {EventSource | null} */
  #source = null;

  /**
   * @param {URL} url
   * @param {URL} emulation where the client's frames are posted
   */
  constructor(url, emulation) {
    super(emulation);
    this.#url = url;
  }

  /** @override @param {string} frame */
  begin(frame) {
    this.#url.searchParams.set("cf_connect", frame);
    this.#source = new EventSource(this.#url, { withCredentials: true });
    this.#source.onmessage = ({ data }) => this.onmessage?.({ data });
    // An EventSource would send the same connect command again, with positions of the past.
    this.#source.onerror = () => this.ended();
  }

  /** @override */
  stop() {
    if (this.#source) this.#source.onmessage = this.#source.onerror = null;
    this.#source?.close();
  }
}
