/**
 * A client of the server, which connects, recovers, reconnects and acknowledges.
 *
 * `connect`, `disconnect`, `on`, `rpc`, the states and their codes have the names of the Centrifuge
 * SDKs. Each publication is emitted once, in the order of its stream.
 *
 * @import { Events, Options, State } from "./events.js"
 * @import { Addresses } from "./transport.js"
 * @import { Opener } from "./link.js"
 * @import { Command, ConnectResult, ProtocolError, Push, Reply } from "./protocol.js"
 * @import { Handle } from "./requests.js"
 */
import { Backoff } from "./backoff.js";
import { Connection } from "./connection.js";
import { Emitter } from "./emitter.js";
import { reasons } from "./events.js";
import { Positions, localStorageOrNull } from "./positions.js";
import { Streams } from "./streams.js";
import { Subscriptions } from "./subscriptions.js";
import { Transports } from "./transports.js";

/** @extends {Emitter<Events>} */
export class Client extends Emitter {
  #options;
  #addresses;
  #storage;
  /** @type {Streams} */
  #streams;
  /** @type {Subscriptions} */
  #subscriptions;
  /** @type {Connection} */
  #connection;

  /**
   * @param {string} endpoint path or URL of the socket; it stands for the site
   * @param {string} userId the user for whom the page was rendered
   * @param {Options} [options]
   */
  constructor(endpoint, userId, options = {}) {
    super();
    this.timeout = options.timeout ?? 5000;
    this.maxServerPingDelay = options.maxServerPingDelay ?? 10_000;
    this.minReconnectDelay = options.minReconnectDelay ?? 500;
    this.maxReconnectDelay = options.maxReconnectDelay ?? 20_000;
    this.backoff = this.#makeBackoff();
    this.#options = options;
    this.#addresses = options.addresses;
    this.#storage = options.storage ?? localStorageOrNull();
    this.endpoint = endpoint;
    this.userId = userId;
    this.#streams = this.#makeStreams();
    this.#subscriptions = this.#makeSubscriptions(options.topics, options.followed);
    this.#connection = this.#makeConnection();
  }

  /**
   * Switches to another user: closes the connection, and keeps no state of the previous user. Call
   * `connect` afterwards.
   *
   * @param {string} endpoint
   * @param {string} userId the new user
   * @param {string[]} [followed] see {@link Options}
   * @param {Addresses} [addresses] see {@link Options}
   */
  become(endpoint, userId, followed, addresses) {
    this.disconnect();
    this.#addresses = addresses;
    this.endpoint = endpoint;
    this.userId = userId;
    this.backoff.reset();
    this.#streams = this.#makeStreams();
    this.#subscriptions = this.#makeSubscriptions([], followed);
    this.#connection = this.#makeConnection();
  }

  #makeBackoff() {
    return new Backoff(this.minReconnectDelay, this.maxReconnectDelay);
  }

  #makeStreams() {
    const positions = new Positions(this.endpoint, this.userId, this.#storage);
    return new Streams(this, positions, (channel, offset) => {
      // If an acknowledgement fails, the next pong acknowledges the same offsets.
      this.rpc("ack", { channel, offset }).catch(() => undefined);
    });
  }

  /**
   * @param {string[]} [topics]
   * @param {string[]} [followed]
   */
  #makeSubscriptions(topics = [], followed) {
    const connection = {
      send: this.send.bind(this),
      target: this,
      makeBackoff: () => this.#makeBackoff(),
      reconnect: () => this.#connection.reconnect(reasons.subscribeTimeout),
    };
    return new Subscriptions(connection, this.#streams, topics, followed);
  }

  #makeConnection() {
    const session = {
      greeting: () => ({ name: "bell", version: "1", subs: this.#streams.resumable() }),
      greeted: this.#greeted.bind(this),
      pushed: this.#pushed.bind(this),
      handled: () => this.#streams.save(),
      paused: () => {
        this.#streams.pause();
        this.#subscriptions.pause();
      },
    };
    return new Connection(this, this.#makeOpener(), session, this);
  }

  /** @returns {Opener} */
  #makeOpener() {
    const { endpoint, userId } = this;
    const positions = () => this.#streams.positions;
    const followed = () => this.followed;
    const { transports, share } = this.#options;
    const addresses = this.#addresses;
    const shared = share?.({ endpoint, userId, positions, followed, transports, addresses });
    return shared ?? new Transports(endpoint, transports, addresses);
  }

  /** @returns {State} */
  get state() {
    return this.#connection.state;
  }

  /** The topics that the user is known to follow. */
  get followed() {
    return this.#subscriptions.followed;
  }

  /**
   * @param {string} channel
   * @returns {number} the offset up to which the stream has been read
   */
  reached(channel) {
    return this.#streams.reached(channel);
  }

  connect() {
    this.#connection.open();
  }

  disconnect() {
    this.#connection.close(reasons.disconnectCalled);
  }

  /** Reconnects without a pause, or tests the connection, because the user is waiting for it. */
  wake() {
    this.#connection.wake();
  }

  /**
   * Calls a procedure, and retries after a pause when the server replies with a temporary error.
   *
   * @param {string} method
   * @param {object} [data]
   * @returns {Promise<any>} rejected with a ProtocolError: refused, timeout, not connected
   */
  async rpc(method, data = {}) {
    const reply = await this.#call({ rpc: { method, data } }, (reply) =>
      this.emit("late", { method, data, result: reply.rpc?.data ?? {} }),
    );
    return reply.rpc?.data ?? {};
  }

  /**
   * Reads a topic on this and every later connection. A user who does not follow it yet joins it.
   *
   * @param {string} channel such as `topic:news`
   * @returns {Promise<void>} rejected if it is refused or takes too long; after a temporary error
   *   the client retries
   */
  async subscribe(channel) {
    this.#subscriptions.want(channel);
    if (this.state === "connected") await this.#subscriptions.subscribe(channel);
  }

  /**
   * Stops reading a topic. The user goes on following it: its notifications stay in the inbox, and
   * later ones are sent when the client subscribes again.
   *
   * @param {string} channel
   */
  async unsubscribe(channel) {
    this.#subscriptions.unwant(channel);
    if (this.state === "connected") await this.#call({ unsubscribe: { channel } });
  }

  /**
   * Ends the user's subscription to a topic for good, on all devices.
   *
   * @param {string} channel
   * @returns {Promise<{unread?: number}>}
   */
  async leave(channel) {
    const result = await this.rpc("leave", { channel });
    this.drop(channel);
    return result;
  }

  /** @param {string} channel a topic that the user has left */
  drop(channel) {
    this.#subscriptions.drop(channel);
  }

  /**
   * Sends a command once, and hands over its reply as it is.
   *
   * @param {Command} command
   * @param {Handle} handle
   * @param {(error: ProtocolError) => void} fail called on a timeout, or without a connection
   */
  send(command, handle, fail) {
    this.#connection.send(command, handle, fail);
  }

  /**
   * @param {Command} command
   * @param {(reply: Reply) => void} [late]
   */
  #call(command, late) {
    return this.#connection.call(command, this.#makeBackoff(), late);
  }

  /** @param {ConnectResult} result */
  #greeted({ subs = {}, data }) {
    this.#streams.adoptAll(subs);
    this.#subscriptions.begin(data?.topics);
  }

  /** @param {Push} push */
  #pushed({ channel = "", pub, message, subscribe, unsubscribe }) {
    if (pub) this.#streams.publish(channel, pub);
    if (message) this.emit("message", { data: message.data });
    if (subscribe) this.#streams.adopt(channel, subscribe);
    if (unsubscribe) {
      this.#subscriptions.ended(channel, unsubscribe.code ?? 0, unsubscribe.reason ?? "");
    }
  }
}
