/**
 * The transport of a page whose connection belongs to a tab: this one or another one, the leader.
 *
 * @typedef {import("./transport.js").Closed} Closed
 * @typedef {import("./transport.js").Transport} Transport
 *
 * @typedef {object} ToLeader
 * @property {"hello" | "frame" | "wake" | "bye"} kind
 * @property {string} from id of the page's socket
 * @property {string} [frame]
 *
 * @typedef {object} FromLeader
 * @property {"leading" | "wait" | "open" | "frame" | "close"} kind
 * @property {string} leader
 * @property {string} to id of a socket; "" for all
 * @property {string} [frame]
 * @property {boolean} [isJoined] from now on, frames for all are for this socket too
 * @property {Closed} [closed]
 */
import { CLOSED, CONNECTING, OPEN } from "./transport.js";

/** Milliseconds after which a leader that does not answer is replaced. */
const PATIENCE_MS = 3000;

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
  #post;
  #unanswered;

  /**
   * @param {(message: ToLeader) => void} post
   * @param {() => void} unanswered called when no leader answers
   */
  constructor(post, unanswered) {
    this.#post = post;
    this.#unanswered = unanswered;
    queueMicrotask(() => this.#greet());
  }

  /** @param {string} frame */
  send(frame) {
    this.#post({ kind: "frame", from: this.id, frame });
  }

  wake() {
    this.#greet();
    this.#post({ kind: "wake", from: this.id });
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
    if (kind === "wait" || kind === "open") this.#answered(leader);
    if (kind === "open") this.#opened();
    if (kind === "close" && closed) this.#closed(closed);
    if (kind !== "frame" || this.readyState !== OPEN) return;
    this.#isJoined ||= isJoined ?? false;
    if (to || this.#isJoined) this.onmessage?.({ data: frame });
  }

  #greet() {
    if (this.readyState !== CONNECTING) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#unanswered, PATIENCE_MS);
    this.#post({ kind: "hello", from: this.id });
  }

  /** @param {string} leader has begun to lead */
  #led(leader) {
    if (this.readyState === CONNECTING) this.#greet();
    else if (leader !== this.#leader) this.#end(GONE);
  }

  /** @param {string} leader */
  #answered(leader) {
    this.#leader = leader;
    clearTimeout(this.#timer);
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
