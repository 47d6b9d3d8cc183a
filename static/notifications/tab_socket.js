/**
 * The transport of a page whose connection belongs to a tab: this one or another one, the leader.
 *
 * @import { Closed, Transport } from "./transport.js"
 *
 * @typedef {object} ToLeader
 * @property {"hello" | "ask" | "frame" | "wake" | "bye"} kind
 * @property {string} from id of the page's socket
 * @property {string} [frame]
 *
 * @typedef {object} FromLeader
 * @property {"leading" | "wait" | "open" | "here" | "frame" | "close"} kind
 * @property {string} leader
 * @property {string} to id of a socket; "" for all
 * @property {string} [frame]
 * @property {boolean} [isJoined] from now on, frames for all are for this socket too
 * @property {Closed} [closed]
 */
import { CLOSED, CONNECTING, OPEN } from "./transport.js";

/** Milliseconds between two questions to the leader. */
const ASK_EVERY_MS = 2000;

/** A leader that leaves this many questions in a row without an answer hangs, and is replaced. */
const MAX_UNANSWERED = 2;

const GONE = { code: 1001, reason: "the leading tab has gone" };

export class TabSocket {
  id = crypto.randomUUID();
  readyState = CONNECTING;
  isPatient = true;
  /** Whether it has lost its leader or the leader its connection, so that the next one need not wait. */
  isEnded = false;
  /** @type {Transport["onopen"]} */
  onopen = null;
  /** @type {Transport["onmessage"]} */
  onmessage = null;
  /** @type {Transport["onclose"]} */
  onclose = null;
  #leader = "";
  #isJoined = false;
  #timer = 0;
  #unanswered = 0;
  #post;
  #replace;

  /**
   * @param {(message: ToLeader) => void} post
   * @param {() => void} replace called when no leader answers
   */
  constructor(post, replace) {
    this.#post = post;
    this.#replace = replace;
    queueMicrotask(() => this.#watch());
  }

  /** @param {string} frame */
  send(frame) {
    this.#post({ kind: "frame", from: this.id, frame });
  }

  wake() {
    this.#unanswered = 0;
    this.#watch();
    if (this.readyState === CONNECTING) this.#post({ kind: "wake", from: this.id });
  }

  close() {
    clearTimeout(this.#timer);
    if (this.readyState === CLOSED) return;
    this.readyState = CLOSED;
    this.#post({ kind: "bye", from: this.id });
  }

  /** The tabs cannot talk to each other. */
  fail() {
    if (this.readyState !== CLOSED) this.#end(GONE);
  }

  /** @param {FromLeader} message */
  take({ kind, leader, to, frame = "", isJoined, closed }) {
    if (this.readyState === CLOSED) return;
    if (kind === "leading") this.#led(leader);
    // Another one may believe that it still leads.
    if (leader !== this.#leader && (kind === "frame" || kind === "close")) return;
    if (kind === "wait" || kind === "open") this.#leader = leader;
    if (leader === this.#leader) this.#unanswered = 0;
    if (kind === "open") this.#opened();
    if (kind === "close" && closed) this.#closed(closed);
    if (kind !== "frame" || this.readyState !== OPEN) return;
    this.#isJoined ||= isJoined ?? false;
    if (to || this.#isJoined) this.onmessage?.({ data: frame });
  }

  /**
   * Asks the leader again and again whether it is there, because one that hangs keeps its lock.
   *
   * It is asked by message: it answers without timers, which browsers slow down in hidden pages.
   */
  #watch() {
    clearTimeout(this.#timer);
    const isOpen = this.readyState === OPEN;
    // Nobody waits for a hidden page. It notices when the server's pings stop.
    if (this.readyState === CLOSED || (isOpen && document.visibilityState === "hidden")) return;
    if (this.#unanswered === MAX_UNANSWERED) {
      this.#unanswered = 0;
      this.#replace();
    }
    this.#unanswered += 1;
    this.#timer = setTimeout(() => this.#watch(), ASK_EVERY_MS);
    this.#post({ kind: isOpen ? "ask" : "hello", from: this.id });
  }

  /** @param {string} leader has begun to lead */
  #led(leader) {
    this.#unanswered = 0;
    if (this.readyState === CONNECTING) this.#watch();
    else if (leader !== this.#leader) this.#end(GONE);
  }

  #opened() {
    if (this.readyState !== CONNECTING) return;
    this.readyState = OPEN;
    this.onopen?.();
  }

  /** @param {Closed} closed */
  #closed(closed) {
    if (this.readyState === OPEN || closed.isFinal) this.#end(closed);
  }

  /** @param {Closed} closed */
  #end(closed) {
    this.readyState = CLOSED;
    this.isEnded = !closed.isFinal;
    clearTimeout(this.#timer);
    this.onclose?.(closed);
  }
}
