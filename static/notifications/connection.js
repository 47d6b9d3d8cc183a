/**
 * The life of a client's connection: it connects, notices its end, and comes back after a pause.
 *
 * @import { Backoff } from "./backoff.js"
 * @import { Events, State } from "./events.js"
 * @import { Opener } from "./link.js"
 * @import { Command, ConnectResult, Push, Reply } from "./protocol.js"
 * @import { Closed } from "./transport.js"
 * @import { Emitter } from "./emitter.js"
 * @import { Handle } from "./requests.js"
 *
 * @typedef {object} Session what the connection is used for
 * @property {() => object} greeting parameters of the connect command
 * @property {(result: ConnectResult) => void} greeted
 * @property {(push: Push) => void} pushed
 * @property {() => void} handled all replies of a frame are handled
 * @property {() => void} paused the connection is lost
 *
 * @typedef {object} Settings times in milliseconds
 * @property {string} userId
 * @property {Backoff} backoff
 * @property {number} timeout
 * @property {number} maxServerPingDelay
 */
import { reasons } from "./events.js";
import { Link } from "./link.js";
import { PONG, ProtocolError, UNAUTHORIZED, decodeFrame, isPing, isTerminal } from "./protocol.js";
import { Requests } from "./requests.js";
import { Upgrade } from "./upgrade.js";

/** Milliseconds after which a connection counts as stable, so that the backoff is reset. */
const STABLE_AFTER_MS = 5000;

export class Connection {
  /** @type {State} */
  state = "disconnected";
  #target;
  #opener;
  #session;
  #settings;
  #link;
  #requests;
  #upgrade;
  #connections = 0;
  #connectedAt = 0;
  #answersPings = false;
  /** Whether the server has ended or refused the last connection for good. */
  #wasEnded = false;

  /**
   * @param {Emitter<Events>} target emits the events
   * @param {Opener} opener
   * @param {Session} session
   * @param {Settings} settings
   */
  constructor(target, opener, session, settings) {
    this.#target = target;
    this.#opener = opener;
    this.#session = session;
    this.#settings = settings;
    this.#requests = new Requests(settings.timeout);
    this.#upgrade = new Upgrade(() => opener.probe(settings.timeout), () => this.#change());
    this.#link = new Link(opener, settings.timeout, {
      opened: () => this.#greet(),
      received: (frame) => this.#receive(frame),
      closed: (closed) => this.#closed(closed),
      silent: () => this.reconnect(reasons.noPing),
    });
  }

  open() {
    if (this.state !== "disconnected") return;
    addEventListener("online", this.#wake);
    document.addEventListener("visibilitychange", this.#wake);
    this.state = "connecting";
    this.#opener.start();
    this.#target.emit("connecting", reasons.connectCalled);
    // A page that keeps replacing its elements calls this repeatedly.
    if (this.#wasEnded) this.#openLater();
    else this.#link.open();
  }

  /** @param {{code: number, reason: string}} reason */
  close(reason) {
    if (this.state === "disconnected") return;
    removeEventListener("online", this.#wake);
    document.removeEventListener("visibilitychange", this.#wake);
    this.#link.cancel();
    this.#link.leave();
    this.#drop(false);
    this.#opener.stop();
    this.state = "disconnected";
    this.#wasEnded = reason !== reasons.disconnectCalled;
    this.#target.emit("disconnected", reason);
  }

  /** @param {{code: number, reason: string}} reason */
  reconnect(reason) {
    const wasConnected = this.state === "connected";
    this.#drop(true);
    this.state = "connecting";
    this.#openLater();
    if (wasConnected) this.#target.emit("connecting", reason);
  }

  /**
   * Sends a command once.
   *
   * @param {Command} command
   * @param {Handle} handle
   * @param {(error: ProtocolError) => void} fail called on a timeout, or without a connection
   */
  send(command, handle, fail) {
    this.#requests.send(this.#link.transport, command, handle, fail);
  }

  /**
   * Sends an idempotent command, and again after each temporary error.
   *
   * @param {Command} command
   * @param {Backoff} backoff
   * @param {(reply: Reply) => void} [late] gets a reply that arrives after the timeout
   * @returns {Promise<Reply>}
   */
  call(command, backoff, late) {
    const transport = this.state === "connected" ? this.#link.transport : null;
    return this.#requests.call(transport, command, backoff, late);
  }

  /** Reconnects or probes at once. */
  wake() {
    if (this.#link.isWaiting) {
      this.#link.open();
      return;
    }
    if (this.state === "connected") this.send({ ping: {} }, () => undefined, () => this.#lost());
    this.#link.transport?.wake?.();
  }

  /**
   * The network is back, or the page is visible again.
   *
   * @param {Event} event
   */
  #wake = ({ type }) => {
    // It may be another network.
    if (type === "online" && this.state === "connecting") this.#opener.reset();
    if (document.visibilityState === "hidden" || !navigator.onLine) return;
    this.wake();
  };

  #lost() {
    // The probed transport may have been dropped in the meantime.
    if (this.#link.transport) this.reconnect(reasons.noPing);
  }

  #openLater() {
    this.#link.openLater(this.#opener.isTrying ? 0 : this.#settings.backoff.next());
  }

  #greet() {
    this.send(
      { connect: this.#session.greeting() },
      (reply) => this.#greeted(reply),
      (error) => {
        // Without a transport, the request has failed because the connection was dropped.
        if (!this.#link.transport) return;
        this.#target.emit("error", { type: "connect", error });
        this.reconnect(reasons.transportClosed);
      },
    );
  }

  /** @param {Reply} reply */
  #greeted(reply) {
    if (reply.error) {
      this.#refused(new ProtocolError(reply.error));
      return;
    }
    const result = /** @type {ConnectResult} */ (reply.connect ?? {});
    if (result.data?.user && result.data.user.id !== this.#settings.userId) {
      // Another user has logged in since this page was rendered; it must not show their messages.
      this.close(reasons.unauthorized);
      return;
    }
    this.state = "connected";
    this.#connectedAt = Date.now();
    this.#connections += 1;
    this.#answersPings = result.pong ?? false;
    this.#link.join(result);
    this.#link.expect(result.ping ? result.ping * 1000 + this.#settings.maxServerPingDelay : 0);
    if (this.#opener.isFallback) this.#upgrade.start();
    this.#target.emit("connected", {
      client: result.client,
      transport: this.#opener.name,
      data: result.data ?? {},
      ping: result.ping ?? 0,
      reconnected: this.#connections > 1,
    });
    this.#session.greeted(result);
  }

  /** @param {ProtocolError} error */
  #refused(error) {
    this.#target.emit("error", { type: "connect", error });
    if (error.temporary) {
      this.reconnect(reasons.transportClosed);
    } else {
      const { code, message } = error;
      this.close(code === UNAUTHORIZED ? reasons.unauthorized : { code, reason: message });
    }
  }

  /** @param {Closed} closed */
  #closed({ code, reason, isFinal }) {
    if (isFinal || isTerminal(code)) {
      this.close({ code, reason });
    } else {
      this.reconnect(reasons.transportClosed);
    }
  }

  /** Changes to the WebSocket that has become possible, when no command waits for its reply. */
  #change() {
    if (!this.#requests.isIdle) {
      this.#upgrade.start();
      return;
    }
    this.#opener.reset();
    this.#drop(false);
    this.state = "connecting";
    this.#link.open();
    this.#target.emit("connecting", reasons.transportClosed);
  }

  /**
   * Closes the transport, and fails all requests that wait for it.
   *
   * @param {boolean} hasFailed whether it counts if the server has not answered
   */
  #drop(hasFailed) {
    const hasLasted = Date.now() - this.#connectedAt > STABLE_AFTER_MS;
    if (this.state === "connected" && hasLasted) this.#settings.backoff.reset();
    this.#upgrade.stop();
    this.#session.paused();
    this.#link.drop(hasFailed);
    this.#requests.failAll();
  }

  /** @param {string} frame */
  #receive(frame) {
    let replies;
    try {
      replies = decodeFrame(frame);
    } catch (error) {
      this.#target.emit("error", { type: "transport", error: /** @type {Error} */ (error) });
      this.reconnect(reasons.transportClosed);
      return;
    }
    const { transport } = this.#link;
    for (const reply of replies) {
      // A handler may have disconnected.
      if (this.#link.transport !== transport) break;
      this.#handle(reply);
    }
    this.#session.handled();
  }

  /** @param {Reply} reply */
  #handle(reply) {
    if (isPing(reply)) {
      if (this.#answersPings) this.#link.send(PONG);
      this.#target.emit("ping", {});
    } else if (reply.push?.disconnect) {
      // In place of the close frame of a WebSocket.
      const { code = 0, reason = "" } = reply.push.disconnect;
      this.#closed({ code, reason });
    } else if (reply.push) {
      this.#session.pushed(reply.push);
    } else {
      this.#requests.settle(reply);
    }
  }
}
