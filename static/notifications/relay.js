/**
 * The leading tab's part of a shared connection: it is a client of the server, and to the tabs it
 * is the server. Each tab has positions of its own, and resumes from them here or at the server.
 *
 * @import { Events, Sharing } from "./events.js"
 * @import { Command } from "./protocol.js"
 * @import { FromLeader, ToLeader } from "./tab_socket.js"
 * @import { Closed } from "./transport.js"
 */
import { Audience } from "./audience.js";
import { messagesOf } from "./changes.js";
import { Client } from "./client.js";
import { toReply } from "./protocol.js";
import { Recent } from "./recent.js";
import { notConnected } from "./requests.js";
import { TopicReaders } from "./topic_readers.js";

const TOPIC = "topic:";

/** From this code on, an `unsubscribe` push asks to subscribe again. */
const RESUBSCRIBE = 2500;

const LEFT = { code: 2000, reason: "left" };

const LOST = { code: 1001, reason: "the connection is lost" };

export class Relay {
  #client;
  #tabs;
  #recent = new Recent();
  #readers = new TopicReaders();
  /** @type {Events["connected"]["data"] | null} what the reply to connect said, while it is new */
  #fresh = null;
  /** @type {Events["connected"]["data"]["user"]} */
  #user;
  #ping = 0;
  /** @type {Set<string>} streams whose first publications are still being handled */
  #beginning = new Set();
  /** @type {Closed | null} why the server has ended the connection */
  #end = null;

  /**
   * @param {Sharing} page the page in whose tab it runs
   * @param {(message: FromLeader) => void} post to all tabs, this one included
   */
  constructor({ endpoint, userId, positions, followed, transports, addresses }, post) {
    this.#tabs = new Audience(post);
    const known = JSON.stringify(Object.fromEntries(positions()));
    const storage = { getItem: () => known, setItem: () => undefined };
    const options = {
      storage,
      followed: followed(),
      ...(transports && { transports }),
      ...(addresses && { addresses }),
    };
    this.#client = new Client(endpoint, userId, options)
      .on("connecting", () => this.#lost())
      .on("connected", (context) => this.#connected(context))
      .on("subscribed", (context) => this.#subscribed(context))
      .on("publication", (publication) => this.#published(publication))
      .on("message", ({ data }) => this.#tabs.send({ push: { message: { data } } }))
      .on("unsubscribed", (context) => this.#unsubscribed(context))
      .on("ping", () => this.#tabs.send({}))
      .on("disconnected", (reason) => this.#ended(reason));
  }

  start() {
    this.#tabs.lead();
    this.#client.connect();
  }

  stop() {
    this.#end = LOST;
    this.#tabs.close(LOST);
    this.#client.disconnect();
  }

  /** @param {ToLeader} message of a tab */
  take({ kind, from, frame = "" }) {
    if (kind === "hello") this.#greet(from);
    else if (kind === "ask") this.#tabs.answer(from);
    else if (kind === "wake") this.#client.wake();
    else if (kind === "bye") this.#left(from);
    else for (const line of frame.split("\n")) this.#command(from, JSON.parse(line));
  }

  // Tabs

  /** @param {string} tab */
  #greet(tab) {
    if (this.#end) this.#tabs.refuse(tab, this.#end);
    else if (this.#client.state === "connected" && !this.#fresh) this.#tabs.open(tab);
    else this.#tabs.keepWaiting(tab);
  }

  /** @param {string} tab */
  #left(tab) {
    this.#tabs.leave(tab);
    for (const channel of this.#readers.left(tab)) this.#stopReading(channel);
  }

  /** @param {string} channel a topic that no tab reads any more */
  #stopReading(channel) {
    this.#recent.forget(channel);
    this.#client.unsubscribe(channel).catch(() => undefined);
  }

  /**
   * @param {string} tab
   * @param {Command} command
   */
  #command(tab, { id = 0, ...command }) {
    if (!this.#tabs.get(tab)) return;
    const { connect, subscribe, unsubscribe, rpc } = /** @type {any} */ (command);
    if (connect) this.#connect(tab, id, connect);
    else if (subscribe) this.#subscribe(tab, id, subscribe);
    else if (unsubscribe) this.#unsubscribe(tab, id, unsubscribe.channel);
    // This object's client acknowledges what it has handed to the tabs.
    else if (rpc?.method === "ack") this.#tabs.reply(tab, { id, rpc: { data: {} } });
    else if (id) this.#forward(tab, id, command);
  }

  /**
   * @param {string} tab
   * @param {number} id
   * @param {{subs?: Record<string, object>}} request
   */
  async #connect(tab, id, { subs = {} }) {
    const state = this.#tabs.get(tab);
    const channels = this.#recent.channels.filter((channel) => !channel.startsWith(TOPIC));
    const results = channels.map((channel) => [channel, this.#resume(channel, subs[channel])]);
    state?.waiting.splice(0);
    try {
      const data = this.#fresh ?? (await this.#describe());
      // It may have left, or have come back.
      if (this.#tabs.get(tab) !== state) return;
      const connect = { client: tab, ping: this.#ping, data, subs: Object.fromEntries(results) };
      this.#tabs.join(tab, { id, connect });
    } catch (error) {
      this.#tabs.reply(tab, { id, error: toReply(error) });
    }
  }

  /**
   * @param {string} channel
   * @param {{epoch?: string, offset?: number} | undefined} position
   */
  #resume(channel, position) {
    return this.#recent.resume(channel, position, this.#client.reached(channel));
  }

  async #describe() {
    const { unread } = await this.#client.rpc("unread");
    return { unread, ...(this.#user ? { user: this.#user } : {}), topics: this.#client.followed };
  }

  /**
   * @param {string} tab
   * @param {number} id
   * @param {{channel: string, epoch?: string, offset?: number}} request
   */
  async #subscribe(tab, id, { channel, ...position }) {
    const isFollowed = this.#client.followed.includes(channel);
    this.#readers.read(tab, channel);
    try {
      await this.#client.subscribe(channel);
      if (!this.#recent.has(channel)) throw notConnected();
    } catch (error) {
      this.#readers.stop(tab, channel);
      this.#tabs.reply(tab, { id, error: toReply(error) });
      return;
    }
    this.#tabs.reply(tab, { id, subscribe: this.#resume(channel, position) });
    if (!isFollowed) this.#tabs.sendOthers(tab, { message: { data: { type: "join", channel } } });
  }

  /**
   * @param {string} tab
   * @param {number} id
   * @param {string} channel
   */
  #unsubscribe(tab, id, channel) {
    if (this.#readers.stop(tab, channel)) this.#stopReading(channel);
    this.#tabs.reply(tab, { id, unsubscribe: {} });
  }

  /**
   * @param {string} tab
   * @param {number} id
   * @param {Command} command
   */
  #forward(tab, id, command) {
    this.#client.send(
      command,
      (reply) => {
        this.#tabs.reply(tab, { ...reply, id });
        if (reply.rpc && !reply.error) this.#called(tab, command["rpc"], reply.rpc.data ?? {});
      },
      // The tab's own time is up too, or it is closed together with the connection.
      () => undefined,
    );
  }

  /**
   * Tells the other tabs what the server tells only other connections.
   *
   * @param {string} tab
   * @param {any} call
   * @param {object} result
   */
  #called(tab, call, result) {
    for (const data of messagesOf(call, result)) this.#tabs.sendOthers(tab, { message: { data } });
    if (call.method !== "leave") return;
    const { channel } = call.data;
    this.#client.drop(channel);
    if (this.#recent.forget(channel)) this.#tabs.sendOthers(tab, { channel, unsubscribe: LEFT });
  }

  // The connection

  /** @param {Events["connected"]} context */
  #connected({ data, ping }) {
    this.#user = data.user;
    this.#ping = ping;
    this.#fresh = data;
    // When the whole reply is handled.
    queueMicrotask(() => {
      if (this.#client.state === "connected") this.#tabs.openAll();
      this.#fresh = null;
    });
  }

  #lost() {
    this.#recent.pause();
    this.#readers.clear();
    this.#tabs.close(LOST);
  }

  /** @param {Events["disconnected"]} reason */
  #ended(reason) {
    if (this.#end) return;
    this.#end = { ...reason, isFinal: true };
    this.#tabs.close(this.#end);
  }

  /** @param {Events["subscribed"]} context */
  #subscribed({ channel, position, wasRecovering, recovered }) {
    const isGap = wasRecovering && !recovered;
    this.#recent.begin(channel, position, isGap);
    if (channel.startsWith(TOPIC)) {
      // Tabs that read it learn of the gap when they subscribe again.
      if (isGap) this.#tabs.send({ push: { channel, unsubscribe: { code: RESUBSCRIBE, reason: "gap" } } });
    } else if (!this.#fresh) {
      this.#beginning.add(channel);
      // When its first publications are handled.
      queueMicrotask(() => this.#begun(channel));
    }
  }

  /** @param {string} channel a stream that has come during the connection */
  #begun(channel) {
    this.#beginning.delete(channel);
    if (!this.#recent.has(channel)) return;
    this.#tabs.send({ push: { channel, subscribe: this.#resume(channel, undefined) } });
  }

  /** @param {Events["publication"]} publication */
  #published({ channel, data, offset }) {
    const publication = { data, offset };
    const isSent = !this.#beginning.has(channel);
    this.#recent.add(channel, publication, isSent && this.#tabs.isThere);
    if (isSent) this.#tabs.send({ push: { channel, pub: publication } });
  }

  /** @param {Events["unsubscribed"]} context */
  #unsubscribed({ channel, code, reason }) {
    // Otherwise they know already.
    if (this.#recent.forget(channel)) this.#tabs.send({ push: { channel, unsubscribe: { code, reason } } });
  }
}
