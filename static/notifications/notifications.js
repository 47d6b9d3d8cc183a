/**
 * The user's inbox over the connection: its pages, what changes in it, and how much is unread.
 *
 * @typedef {import("./client.js").Client} Client
 * @typedef {import("./client.js").Events} ClientEvents
 * @typedef {import("./protocol.js").Content} Content
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
 *   `sync`: something may have been missed, look again
 * @property {number[]} ids
 * @property {string} [channel] of a topic that was joined or left
 *
 * @typedef {{channel: string, muted: boolean}} Topic that the user follows
 *
 * @typedef {Pick<ClientEvents, "connecting" | "connected" | "disconnected" | "error" | "publication">
 *   & {change: Change, count: {unread: number}}} Events
 */
import { Backoff } from "./backoff.js";
import { Emitter } from "./emitter.js";

const FORWARDED = /** @type {const} */ ([
  "connecting",
  "connected",
  "disconnected",
  "error",
  "publication",
]);

/**
 * How long after the server has counted a publication may arrive that the count has included
 * already, in milliseconds: it was committed before, but on its way for longer.
 */
const UNCERTAIN = 10_000;

/** @extends {Emitter<Events>} */
export class Notifications extends Emitter {
  #client;
  #unread;
  #countedAt = 0;
  #recountTimer = 0;
  /** Spreads the questions of many clients, and makes them rarer while publications keep coming. */
  #recounts = new Backoff(250, 30_000);

  /**
   * @param {Client} client
   * @param {number} unread as the server has rendered it
   */
  constructor(client, unread) {
    super();
    this.#client = client;
    this.#unread = unread;
    client.on("connected", ({ data, reconnected }) => {
      this.#counted(data.unread ?? this.#unread);
      // What others have read while this tab was away is told to nobody.
      if (reconnected) this.#changed({ type: "sync", ids: [] });
    });
    client.on("subscribed", (context) => this.#subscribed(context));
    client.on("publication", ({ recovered }) => this.#published(recovered));
    client.on("message", ({ data }) => this.#told(data));
    for (const name of FORWARDED) {
      client.on(name, (/** @type {any} */ context) => this.emit(name, context));
    }
  }

  /** The last known number of unread notifications. */
  get unreadCount() {
    return this.#unread;
  }

  get state() {
    return this.#client.state;
  }

  connect() {
    this.#client.connect();
  }

  disconnect() {
    this.#client.disconnect();
  }

  /**
   * @param {{folder?: Folder, before?: string, limit?: number}} [page] `before`: the `next` of the
   *   page before
   * @returns {Promise<Page>} newest first
   */
  async list(page = {}) {
    const result = await this.#call("inbox", page);
    return { ...result, entries: result.entries ?? [] };
  }

  /** @returns {Promise<number>} how many are unread, asked anew */
  async count() {
    return (await this.#call("unread", {})).unread ?? 0;
  }

  /** @param {number[]} ids */
  async read(ids) {
    await this.#change("read", ids);
  }

  /** @param {number[]} ids they also leave the archive */
  async unread(ids) {
    await this.#change("unread", ids);
  }

  /** @param {number[]} ids they become read, too */
  async archive(ids) {
    await this.#change("archive", ids);
  }

  async readAll() {
    await this.#change("read_all");
  }

  async archiveAll() {
    await this.#change("archive_all");
  }

  /** @returns {Promise<Topic[]>} what the user follows */
  async topics() {
    return (await this.#call("topics", {})).topics ?? [];
  }

  /** @param {string} channel such as `topic:news`: the user follows it from now on */
  async join(channel) {
    await this.#client.subscribe(channel);
    this.#changed({ type: "join", ids: [], channel });
  }

  /** @param {string} channel the user follows it no more, on any device */
  async leave(channel) {
    this.#counted((await this.#client.leave(channel)).unread ?? this.#unread);
    this.#changed({ type: "leave", ids: [], channel });
  }

  /**
   * @param {"read" | "unread" | "archive" | "read_all" | "archive_all"} type
   * @param {number[]} [ids]
   */
  async #change(type, ids) {
    await this.#call(type, ids ? { ids } : {});
    this.#changed({ type, ids: ids ?? [] });
  }

  /**
   * @param {string} method
   * @param {object} data
   */
  async #call(method, data) {
    const result = await this.#client.rpc(method, data);
    if ("unread" in result) this.#counted(result.unread);
    return result;
  }

  /** @param {ClientEvents["subscribed"]} context */
  #subscribed({ wasRecovering, recovered }) {
    if (wasRecovering && !recovered) this.#changed({ type: "sync", ids: [] });
  }

  /** @param {boolean} recovered the reply that brought it has counted it */
  #published(recovered) {
    if (recovered) return;
    this.#count(this.#unread + 1);
    if (Date.now() - this.#countedAt < UNCERTAIN) this.#recountSoon();
    else this.#recounts.reset();
  }

  #recountSoon() {
    if (this.#recountTimer) return;
    this.#recountTimer = setTimeout(() => {
      this.#recountTimer = 0;
      // A lost connection counts when it is back.
      this.count().catch(() => undefined);
    }, this.#recounts.next());
  }

  /** @param {Partial<Change> & {unread?: number}} message */
  #told({ type = "sync", ids = [], unread, channel }) {
    if (unread !== undefined) this.#counted(unread);
    if (type === "join" && channel) this.#follow(channel);
    this.#changed(channel ? { type, ids, channel } : { type, ids });
  }

  /** @param {string} channel that the user has joined elsewhere */
  #follow(channel) {
    // A lost connection learns from the next one what the user follows.
    this.#client.subscribe(channel).catch(() => undefined);
  }

  /** @param {Change} change */
  #changed(change) {
    this.emit("change", change);
  }

  /** @param {number} unread as the server has counted it just now */
  #counted(unread) {
    this.#countedAt = Date.now();
    this.#count(unread);
  }

  /** @param {number} unread */
  #count(unread) {
    if (unread === this.#unread) return;
    this.#unread = unread;
    this.emit("count", { unread });
  }
}
