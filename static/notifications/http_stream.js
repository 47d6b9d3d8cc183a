import { EmulatedTransport } from "./emulation.js";
import { OPEN } from "./transport.js";

/**
 * Receives frames in the response to a POST request that stays open, one frame a line.
 *
 * The first frame that is sent, the connect command, is the body of this request.
 */
export class HttpStream extends EmulatedTransport {
  #url;
  #abort = new AbortController();

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
    this.#receive(frame);
  }

  /** @override */
  stop() {
    this.#abort.abort();
  }

  /** @param {string} body the connect command */
  async #receive(body) {
    try {
      const headers = { "Content-Type": "application/json" };
      const { signal } = this.#abort;
      const options = { method: "POST", headers, body, signal, credentials: /** @type {const} */ ("include") };
      const response = await fetch(this.#url, options);
      if (response.ok && response.body) await this.#read(response.body.getReader());
    } catch {
      // The request was refused, cut or aborted.
    }
    this.ended();
  }

  /** @param {ReadableStreamDefaultReader<Uint8Array>} reader */
  async #read(reader) {
    const decoder = new TextDecoder();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const text = decoder.decode(value, { stream: true });
      const end = text.lastIndexOf("\n");
      if (end < 0) {
        rest += text;
        continue;
      }
      const data = rest + text.slice(0, end);
      rest = text.slice(end + 1);
      if (this.readyState === OPEN) this.onmessage?.({ data });
    }
  }
}
