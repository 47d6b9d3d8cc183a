import { ABNORMAL, CLOSED, CONNECTING, OPEN } from "./transport.js";

/**
 * Sends frames to a session of the server in POST requests, for transports that only receive.
 *
 * One request is in flight at a time, because requests on several connections may overtake each
 * other. Frames that wait meanwhile travel together in the next one.
 */
export class Emulation {
  #url;
  #failed;
  /** @type {string[]} */
  #waiting = [];
  #isSending = false;
  /** @type {{session: string, node: string}} */
  #address = { session: "", node: "" };

  /**
   * @param {URL} url
   * @param {() => void} failed called when a request was refused or lost: later frames are not sent
   */
  constructor(url, failed) {
    this.#url = url;
    this.#failed = failed;
  }

  /** @param {{session?: string, node?: string}} result of the connect command */
  join({ session = "", node = "" }) {
    this.#address = { session, node };
    this.#sendAll();
  }

  /** @param {string} frame */
  send(frame) {
    this.#waiting.push(frame);
    this.#sendAll();
  }

  stop() {
    this.#failed = () => undefined;
    this.#waiting = [];
    this.#address = { session: "", node: "" };
  }

  async #sendAll() {
    if (this.#isSending || !this.#address.session) return;
    this.#isSending = true;
    while (this.#waiting.length) {
      const body = JSON.stringify({ ...this.#address, data: this.#waiting.splice(0).join("\n") });
      if (await this.#post(body)) continue;
      this.#failed();
      break;
    }
    this.#isSending = false;
  }

  /**
   * @param {string} body
   * @returns {Promise<boolean>} whether the server has accepted it
   */
  async #post(body) {
    try {
      const headers = { "Content-Type": "application/json" };
      return (await fetch(this.#url, { method: "POST", headers, body, credentials: "include" })).ok;
    } catch {
      return false;
    }
  }
}

/**
 * A transport that receives over one response. The first frame, the connect command, begins the
 * response; later frames are posted.
 *
 * @implements {Transport}
 * @import { Transport } from "./transport.js"
 */
export class EmulatedTransport {
  readyState = CONNECTING;
  /** @type {Transport["onopen"]} */
  onopen = null;
  /** @type {Transport["onmessage"]} */
  onmessage = null;
  /** @type {Transport["onclose"]} */
  onclose = null;
  #emulation;
  #hasBegun = false;

  /** @param {URL} emulation where the client's frames are posted */
  constructor(emulation) {
    this.#emulation = new Emulation(emulation, () => this.ended());
    queueMicrotask(() => {
      if (this.readyState !== CONNECTING) return;
      this.readyState = OPEN;
      this.onopen?.();
    });
  }

  /** @param {string} frame */
  send(frame) {
    if (this.#hasBegun) {
      this.#emulation.send(frame);
      return;
    }
    this.#hasBegun = true;
    this.begin(frame);
  }

  /** @param {{session?: string, node?: string}} result */
  join(result) {
    this.#emulation.join(result);
  }

  close() {
    this.readyState = CLOSED;
    this.#emulation.stop();
    this.stop();
  }

  /** The response has ended, or a frame could not be posted. */
  ended() {
    if (this.readyState === CLOSED) return;
    this.close();
    this.onclose?.({ code: ABNORMAL, reason: "" });
  }

  /**
   * Subclasses ask for the response here.
   *
   * @param {string} _frame the connect command
   */
  begin(_frame) {
    throw new Error("a subclass begins the response");
  }

  /** Subclasses stop receiving here. */
  stop() {}
}
