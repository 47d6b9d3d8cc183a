/**
 * One connection for all tabs of a browser with the same user. The tab that holds a lock, the
 * leader, keeps the connection, and the others use it over a BroadcastChannel.
 *
 * A tab that is closed or crashes loses the lock, and another one gets it. If a leader does not
 * answer, because it is frozen or busy, a tab takes the lock away from it.
 *
 * @import { Sharing } from "./events.js"
 * @import { Opener } from "./link.js"
 * @import { FromLeader, ToLeader } from "./tab_socket.js"
 * @import { Transport } from "./transport.js"
 */
import { Relay } from "./relay.js";
import { TabSocket } from "./tab_socket.js";
import { Transports } from "./transports.js";

/** Pages of an older version must not talk to these. */
const VERSION = 1;

/** An element with this attribute, such as `<html>`, keeps its page from sharing. */
const OFF = "[data-notifications-share=off]";

/**
 * @param {Sharing} page
 * @returns {Opener | null} null if this page must or can only have a connection of its own
 */
export function openShared(page) {
  const isAble = "locks" in navigator && typeof BroadcastChannel === "function";
  return isAble && !document.querySelector(OFF) ? new Tabs(page) : null;
}

/** @implements {Opener} */
export class Tabs {
  #page;
  #key;
  /** @type {BroadcastChannel | null} */
  #channel = null;
  /** @type {TabSocket | null} of this page */
  #socket = null;
  /** @type {Relay | null} while this tab is the leader */
  #relay = null;
  /** @type {Transports | null} if the tabs cannot talk to each other after all */
  #direct = null;
  #abort = new AbortController();
  #release = () => {};

  /** @param {Sharing} page */
  constructor(page) {
    this.#page = page;
    this.#key = `notifications:${VERSION}:${page.endpoint}:${page.userId}`;
  }

  start() {
    if (this.#direct) return;
    try {
      this.#channel = new BroadcastChannel(this.#key);
      this.#channel.onmessage = ({ data }) => this.#take(data);
      this.#request();
    } catch {
      this.#fail();
    }
  }

  stop() {
    this.#abort.abort();
    this.#resign();
    this.#channel?.close();
    this.#channel = null;
  }

  /** @returns {Transport} */
  open() {
    if (this.#direct) return this.#direct.open();
    this.#socket = new TabSocket((message) => this.#post(message), () => this.#steal());
    return this.#socket;
  }

  answered() {
    this.#direct?.answered();
  }

  failed() {
    this.#direct?.failed();
  }

  reset() {
    this.#direct?.reset();
  }

  get name() {
    return this.#direct?.name ?? "shared";
  }

  get isTrying() {
    return this.#direct?.isTrying ?? this.#socket?.isEnded ?? false;
  }

  get isFallback() {
    return this.#direct?.isFallback ?? false;
  }

  /** @param {number} timeout milliseconds */
  async probe(timeout) {
    return this.#direct?.probe(timeout) ?? false;
  }

  // The lock

  /** @param {boolean} [steals] take it away from the tab that has it */
  #request(steals = false) {
    this.#abort.abort();
    const abort = (this.#abort = new AbortController());
    const options = steals ? { steal: true } : { signal: abort.signal };
    navigator.locks
      .request(this.#key, options, () => this.#lead(abort.signal))
      .catch((error) => this.#lost(abort.signal, error));
  }

  #steal() {
    if (this.#channel && !this.#relay) this.#request(true);
  }

  /**
   * @param {AbortSignal} signal
   * @returns {Promise<void> | undefined} keeps the lock until it is resolved
   */
  #lead(signal) {
    if (signal.aborted) return undefined;
    const held = new Promise((/** @type {(value: void) => void} */ resolve) => (this.#release = resolve));
    this.#relay = new Relay(this.#page, (message) => this.#tell(message));
    this.#relay.start();
    return held;
  }

  /**
   * @param {AbortSignal} signal
   * @param {unknown} error
   */
  #lost(signal, error) {
    if (signal.aborted) return;
    this.#resign();
    // Another tab has taken it away.
    if (error instanceof DOMException && error.name === "AbortError") this.#request();
    else this.#fail();
  }

  #resign() {
    const relay = this.#relay;
    this.#relay = null;
    relay?.stop();
    this.#release();
  }

  #fail() {
    this.#direct = new Transports(this.#page.endpoint, this.#page.transports, this.#page.addresses);
    this.#socket?.fail();
  }

  // Messages

  /** @param {ToLeader | FromLeader} message of another tab */
  #take(message) {
    if (!("leader" in message)) this.#relay?.take(message);
    else if (!message.to || message.to === this.#socket?.id) this.#socket?.take(message);
  }

  /** @param {ToLeader} message of this page */
  #post(message) {
    if (this.#relay) this.#relay.take(message);
    else this.#channel?.postMessage(message);
  }

  /** @param {FromLeader} message of this tab as the leader */
  #tell(message) {
    const isForThis = message.to === this.#socket?.id;
    if (!isForThis) this.#channel?.postMessage(message);
    if (isForThis || !message.to) this.#socket?.take(message);
  }
}
