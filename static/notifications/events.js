/**
 * The events and options of a client. The codes and names are those of the Centrifuge SDKs.
 *
 * @import { ConnectResult, Content, Position } from "./protocol.js"
 * @import { Opener } from "./link.js"
 * @import { Addresses, TransportName } from "./transport.js"
 *
 * @typedef {"disconnected" | "connecting" | "connected"} State
 *
 * @typedef {object} Connected
 * @property {string} client id of the connection
 * @property {string} transport `websocket`, `http_stream`, `sse`, or `shared` with other tabs
 * @property {NonNullable<ConnectResult["data"]>} data
 * @property {number} ping seconds between two heartbeats of the server; 0 for none
 * @property {boolean} reconnected whether it is not the first connection of this page
 *
 * @typedef {object} Events
 * @property {{code: number, reason: string}} connecting
 * @property {Connected} connected
 * @property {{code: number, reason: string}} disconnected the client will not reconnect by itself
 * @property {{type: string, error: Error}} error
 * @property {{channel: string, wasRecovering: boolean, recovered: boolean, position: Position}} subscribed
 *   `wasRecovering` without `recovered`: publications were missed and have to be fetched.
 *   `position`: where the stream is read from
 * @property {{channel: string, code: number, reason: string}} unsubscribed
 * @property {{channel: string, data: Content, offset: number, recovered: boolean}} publication
 *   `recovered`: it was part of the reply to a connect or subscribe
 * @property {{data: any}} message
 * @property {{method: string, data: any, result: any}} late the reply to a call that had timed out:
 *   the server has carried it out nevertheless
 * @property {{}} ping the server's heartbeat
 *
 * @typedef {object} Options times in milliseconds
 * @property {string[]} [topics] channels to subscribe to on every connection
 * @property {string[]} [followed] topics that the user followed when the page was rendered. The
 *   client subscribes to these, and to those that other devices join while it is disconnected.
 * @property {number} [minReconnectDelay]
 * @property {number} [maxReconnectDelay]
 * @property {number} [timeout] for the reply to a command
 * @property {number} [maxServerPingDelay] how late a ping may be
 * @property {Pick<Storage, "getItem" | "setItem"> | null} [storage]
 * @property {TransportName[]} [transports] `websocket`, `http_stream` and `sse`, or some of them, in
 *   the order in which they are tried
 * @property {Addresses} [addresses] where the transports are, if they are not beside the endpoint
 * @property {(page: Sharing) => Opener | null} [share] opens a connection that pages share; null if
 *   this page cannot
 *
 * @typedef {object} Sharing what a page brings into a shared connection
 * @property {string} endpoint
 * @property {string} userId
 * @property {() => [string, Position][]} positions
 * @property {() => string[]} followed topics that the user is known to follow
 * @property {TransportName[] | undefined} transports see {@link Options}
 * @property {Addresses | undefined} addresses see {@link Options}
 */

/** Reasons of `connecting` and `disconnected`, besides the close codes of the server. */
export const reasons = Object.freeze({
  connectCalled: { code: 0, reason: "connect called" },
  transportClosed: { code: 1, reason: "transport closed" },
  noPing: { code: 2, reason: "no ping" },
  subscribeTimeout: { code: 3, reason: "subscribe timeout" },
  disconnectCalled: { code: 0, reason: "disconnect called" },
  unauthorized: { code: 1, reason: "unauthorized" },
});
