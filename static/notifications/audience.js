/**
 * The tabs that use a shared connection, and what is sent to them.
 *
 * @import { Push, Reply } from "./protocol.js"
 * @import { FromLeader } from "./tab_socket.js"
 * @import { Closed } from "./transport.js"
 *
 * @typedef {object} Tab
 * @property {boolean} isOpen it may send commands
 * @property {boolean} isJoined its connect command was answered
 * @property {Reply[]} waiting what it has to get after this answer
 */
import { encodeFrame } from "./protocol.js";

/**
 * How many pushes are kept for a tab that connects. One that has crashed never fetches them; one
 * that is only slow asks again, and resumes from its position.
 */
const MAX_WAITING = 1000;

export class Audience {
  id = crypto.randomUUID();
  /** @type {Map<string, Tab>} */
  #tabs = new Map();
  #post;

  /** @param {(message: FromLeader) => void} post to all tabs, that of the leader included */
  constructor(post) {
    this.#post = post;
  }

  lead() {
    this.#tell("leading", "");
  }

  /** @param {string} tab that waits for the connection */
  keepWaiting(tab) {
    if (!this.#tabs.has(tab)) this.#tabs.set(tab, { isOpen: false, isJoined: false, waiting: [] });
    this.#tell("wait", tab);
  }

  /** @param {string} tab that may connect now */
  open(tab) {
    this.#tabs.set(tab, { isOpen: true, isJoined: false, waiting: [] });
    this.#tell("open", tab);
  }

  /** @param {string} tab that asks whether the leader is there */
  answer(tab) {
    this.#tell("here", tab);
  }

  openAll() {
    for (const tab of [...this.#tabs.keys()]) this.open(tab);
  }

  /**
   * @param {string} tab
   * @returns {Tab | undefined} undefined if it may not send commands
   */
  get(tab) {
    const found = this.#tabs.get(tab);
    return found?.isOpen ? found : undefined;
  }

  /** @param {string} tab */
  leave(tab) {
    this.#tabs.delete(tab);
  }

  /** @param {Closed} closed ends the connections of all tabs; those that wait go on unless final */
  close(closed) {
    for (const [tab, { isOpen }] of this.#tabs) if (isOpen || closed.isFinal) this.#tabs.delete(tab);
    this.#tell("close", "", { closed });
  }

  /**
   * @param {string} tab
   * @param {Closed} closed
   */
  refuse(tab, closed) {
    this.#tell("wait", tab);
    this.#tell("close", tab, { closed });
  }

  /** Whether some tab gets what is sent to all. */
  get isThere() {
    return [...this.#tabs.values()].some(({ isJoined }) => isJoined);
  }

  /**
   * @param {string} tab
   * @param {Reply} reply to its connect command
   */
  join(tab, reply) {
    const state = this.get(tab);
    if (!state) return;
    state.isJoined = true;
    const frame = encodeFrame([reply, ...state.waiting.splice(0)]);
    this.#tell("frame", tab, { frame, isJoined: true });
  }

  /**
   * @param {string} tab
   * @param {Reply} reply
   */
  reply(tab, reply) {
    this.#tell("frame", tab, { frame: encodeFrame([reply]) });
  }

  /** @param {Reply} reply a push or a ping */
  send(reply) {
    for (const [tab, { isJoined }] of this.#tabs) if (!isJoined) this.#keep(tab, reply);
    if (this.isThere) this.#tell("frame", "", { frame: encodeFrame([reply]) });
  }

  /**
   * @param {string} author the tab that knows already
   * @param {Push} push
   */
  sendOthers(author, push) {
    for (const [tab, { isJoined }] of this.#tabs) {
      if (tab === author) continue;
      if (isJoined) this.reply(tab, { push });
      else this.#keep(tab, { push });
    }
  }

  /**
   * @param {string} tab that connects
   * @param {Reply} reply
   */
  #keep(tab, reply) {
    const waiting = this.#tabs.get(tab)?.waiting ?? [];
    if (waiting.length < MAX_WAITING) waiting.push(reply);
    else this.leave(tab);
  }

  /**
   * @param {FromLeader["kind"]} kind
   * @param {string} to
   * @param {Partial<FromLeader>} [more]
   */
  #tell(kind, to, more = {}) {
    this.#post({ kind, leader: this.id, to, ...more });
  }
}
