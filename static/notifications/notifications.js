/**
 * The user's inbox over the connection: its pages, its changes and the unread count.
 *
 * @import { Client } from "./client.js"
 * @import { Content } from "./protocol.js"
 * @import { Events as ClientEvents } from "./events.js"
 *
 * @typedef {"unread" | "all" | "archived"} Folder
 *
 * @typedef {Content & {channel?: string, offset?: number, published?: string,
 *   read?: boolean, archived?: boolean}} Entry
 *
 * @typedef {{entries: Entry[], next?: string, unread: number}} Page
 *
 * @typedef {object} Change of the read state or the topics, by this tab or by another device
 * @property {"read" | "unread" | "archive" | "read_all" | "archive_all" | "mute" | "unmute"
 *   | "join" | "leave" | "sync"} type
 *   `sync`: something may have been missed, fetch again
 * @property {number[]} ids
 * @property {string} [channel] the stream that was joined, left, muted or unmuted
 * @property {Record<string, number>} [marks] of `read_all` and `archive_all`: offsets by channel.
 *   Notifications above them were published later and have not changed.
 * @property {boolean} [isOwn] made by this tab
 *
 * @typedef {{channel: string, muted: boolean}} Topic a topic that the user follows
 *
 * @typedef {Pick<ClientEvents, "connecting" | "connected" | "disconnected" | "error" | "publication">
 *   & {change: Change, count: {unread: number}}} Events
 */
import { Emitter } from "./emitter.js";
import { Debounced } from "./debounced.js";

const FORWARDED = /** @type {const} */ ([
  "connecting",
  "connected",
  "disconnected",
  "error",
  "publication",
]);

/**
 * Milliseconds after a count of the server during which publications may arrive that it already
 * includes, because they were committed before but delivered later.
 */
const RECOUNT_WINDOW_MS = 10_000;

/** The procedures that change the inbox. */
const CHANGES = new Set(["read", "unread", "archive", "read_all", "archive_all", "leave"]);

/**
 * Whether a change of all entries includes this one. It does not if the entry came later.
 *
 * @param {Change} change
 * @param {{channel?: string | undefined, offset?: number | undefined}} entry
 * @returns {boolean}
 */
export function reaches({ marks = {} }, { channel = "", offset = 0 }) {
  return offset <= (marks[channel] ?? offset);
}

/** @extends {Emitter<Events>} */
export class Notifications extends Emitter {
  #client;
  #unread;
  #countedAt = 0;
  /** @type {Record<string, number>} offsets up to which the count is known to reach, by channel */
  #tops = {};
  /** @type {Record<string, number>} the last offset that was added to the count, by channel */
  #added = {};
  #recount = new Debounced(() => this.count());

  /**
   * @param {Client} client
   * @param {number} unread as the server has rendered it
   */
  constructor(client, unread) {
    super();
    this.#client = client;
    this.#unread = unread;
    client.on("connected", ({ data, reconnected }) => {
      this.#added = {};
      const isSame = data.unread === undefined || data.unread === this.#unread;
      this.#counted(data.unread ?? this.#unread);
      // Changes by other devices while this tab was disconnected are not sent again.
      if (reconnected || !isSame) this.#changed({ type: "sync", ids: [] });
    });
    client.on("subscribed", (context) => this.#subscribed(context));
    client.on("publication", (publication) => this.#published(publication));
    client.on("message", ({ data }) => this.#onMessage(data));
    client.on("late", ({ method, data, result }) => this.#done(method, data, result));
    for (const name of FORWARDED) {
      client.on(name, (/** @type {any} */ context) => this.emit(name, context));
    }
  }

  /**
   * Starts from the unread count that the server has rendered into the page.
   *
   * @param {number} unread
   */
  begin(unread) {
    this.#recount.cancel();
    this.#countedAt = 0;
    this.#tops = {};
    this.#added = {};
    this.#count(unread);
  }

  /** The last known number of unread notifications. */
  get unreadCount() {
    return this.#unread;
  }

  /** `disconnected`, `connecting` or `connected`. */
  get state() {
    return this.#client.state;
  }

  /** Connects again after `disconnect()`. A page with one of the template tags connects by itself. */
  connect() {
    this.#client.connect();
  }

  /** Closes the connection until `connect()` is called. */
  disconnect() {
    this.#client.disconnect();
  }

  /**
   * Fetches a page of a folder: `unread`, `all` or `archived`.
   *
   * @param {{folder?: Folder, before?: string, limit?: number}} [page] `before`: `next` of the
   *   previous page
   * @returns {Promise<Page>} newest first
   */
  async list(page = {}) {
    const result = await this.#call("inbox", page);
    return { ...result, entries: result.entries ?? [] };
  }

  /** @returns {Promise<number>} the current unread count, from the server */
  async count() {
    return (await this.#call("unread", {})).unread ?? 0;
  }

  /** @param {number[]} ids of notifications that become read */
  async read(ids) {
    await this.#change("read", ids);
  }

  /** @param {number[]} ids of notifications that become unread and leave the archive */
  async unread(ids) {
    await this.#change("unread", ids);
  }

  /** @param {number[]} ids of notifications that move to the archive and become read */
  async archive(ids) {
    await this.#change("archive", ids);
  }

  /** Marks all notifications in the inbox as read. */
  async readAll() {
    await this.#change("read_all");
  }

  /** Archives all notifications in the inbox. */
  async archiveAll() {
    await this.#change("archive_all");
  }

  /** @returns {Promise<Topic[]>} the topics that the user follows */
  async topics() {
    return (await this.#call("topics", {})).topics ?? [];
  }

  /** @param {string} channel such as `topic:news`: the user follows it from now on */
  async join(channel) {
    await this.#client.subscribe(channel);
    this.#changed({ type: "join", ids: [], channel, isOwn: true });
  }

  /** @param {string} channel such as `topic:news`: the user no longer follows it, on any device */
  async leave(channel) {
    this.#done("leave", { channel }, await this.#client.leave(channel));
  }

  /**
   * @param {Change["type"]} type
   * @param {number[]} [ids]
   */
  async #change(type, ids) {
    const data = ids ? { ids } : {};
    this.#done(type, data, await this.#client.rpc(type, data));
  }

  /**
   * @param {string} method
   * @param {object} data
   */
  async #call(method, data) {
    const result = await this.#client.rpc(method, data);
    this.#done(method, {}, result);
    return result;
  }

  /**
   * Handles the result of a procedure that the server has carried out.
   *
   * @param {string} method
   * @param {{ids?: number[], channel?: string}} data
   * @param {{unread?: number}} result
   */
  #done(method, { ids, channel }, { unread }) {
    if (unread !== undefined) this.#counted(unread);
    const isCount = method === "unread" && !ids;
    if (!CHANGES.has(method) || isCount) return;
    const type = /** @type {Change["type"]} */ (method);
    this.#changed({ type, ids: ids ?? [], isOwn: true, ...(channel ? { channel } : {}) });
    // Still unread: a notification was published after the change and before the reply.
    if (!ids && unread && method !== "leave") this.#changed({ type: "sync", ids: [] });
  }

  /** @param {ClientEvents["subscribed"]} context */
  #subscribed({ wasRecovering, recovered }) {
    if (wasRecovering && !recovered) this.#changed({ type: "sync", ids: [] });
  }

  /** @param {ClientEvents["publication"]} publication */
  #published({ channel, offset, recovered }) {
    // The count in the connect reply includes recovered publications.
    if (recovered) return;
    const top = this.#tops[channel];
    if (top !== undefined && offset <= top) return;
    this.#added[channel] = offset;
    this.#count(this.#unread + 1);
    if (top === undefined && Date.now() - this.#countedAt < RECOUNT_WINDOW_MS) this.#recount.schedule();
  }

  /** @param {Partial<Change> & {unread?: number, tops?: Record<string, number>}} message */
  #onMessage({ type = "sync", ids = [], channel, marks, unread, tops }) {
    const isKnown = type === "sync" && unread === this.#unread;
    if (unread !== undefined) this.#counted(unread, tops);
    if (tops) this.#compare(tops);
    if (type === "join" && channel) this.#follow(channel);
    if (isKnown) return;
    this.#changed({ type, ids, ...(channel ? { channel } : {}), ...(marks ? { marks } : {}) });
  }

  /** @param {Record<string, number>} tops offsets up to which the current count reaches */
  #compare(tops) {
    const hasMore = Object.entries(tops).some(([channel, top]) => (this.#added[channel] ?? 0) > top);
    // A publication that has overtaken the message was added before, but is not in its count.
    if (hasMore) this.#recount.schedule();
    else this.#recount.cancel();
  }

  /** @param {string} channel a topic that the user has joined on another device */
  #follow(channel) {
    // If this fails, the next connect reply lists the topics that the user follows.
    this.#client.subscribe(channel).catch(() => undefined);
  }

  /** @param {Change} change */
  #changed(change) {
    this.emit("change", change);
  }

  /**
   * @param {number} unread the latest count of the server
   * @param {Record<string, number>} [tops] offsets up to which it reaches, by channel
   */
  #counted(unread, tops = {}) {
    this.#countedAt = Date.now();
    this.#tops = tops;
    this.#count(unread);
  }

  /** @param {number} unread */
  #count(unread) {
    if (unread === this.#unread) return;
    this.#unread = unread;
    this.emit("count", { unread });
  }
}
