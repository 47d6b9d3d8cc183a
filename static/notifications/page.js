/**
 * Keeps the connection and the components in step with the user who is logged in on this page.
 *
 * Libraries such as Turbo or htmx swap the content without a page load, so the user may change
 * whenever elements do.
 *
 * @import { Addresses } from "./transport.js"
 * @import { Client } from "./client.js"
 * @import { Controller } from "./elements.js"
 * @import { Notifications } from "./notifications.js"
 *
 * @typedef {object} Named
 * @property {string} endpoint path of the socket, or of the first transport that is on
 * @property {Addresses | undefined} addresses of the transports; undefined if a template of the site
 *   does not name them
 * @property {string} userId
 * @property {number} unread
 * @property {string[]} followed channels of the topics that the user follows
 * @property {string} inboxUrl
 */
import { toInteger } from "./format.js";

const NAMING = "[data-notifications-socket]";

/** Elements that a library keeps across pages. They may name a user who has logged out since. */
const CARRIED_OVER = "[data-turbo-permanent], [hx-preserve], [data-hx-preserve]";

/** Set while Turbo shows a cached version of the page until the current one is loaded. */
const PREVIEW = "data-turbo-preview";

/** @returns {HTMLElement | undefined} an element that the template tags have rendered for a user */
export function findNaming() {
  const elements = /** @type {HTMLElement[]} */ ([...document.querySelectorAll(NAMING)]);
  return elements.find((one) => !one.closest(CARRIED_OVER)) ?? elements[0];
}

/** @returns {Named | null} null if nobody is logged in */
export function readPage() {
  const element = findNaming();
  if (!element) return null;
  const { dataset } = element;
  const addresses = dataset.notificationsTransports;
  return {
    endpoint: dataset.notificationsSocket ?? "",
    addresses: addresses ? JSON.parse(addresses) : undefined,
    userId: dataset.notificationsUser ?? "",
    unread: toInteger(dataset.notificationsUnread) ?? 0,
    followed: dataset.notificationsTopics?.split(" ").filter(Boolean) ?? [],
    inboxUrl: dataset.notificationsInbox ?? "",
  };
}

export class Page {
  #client;
  #notifications;
  #parts;
  #isWaiting = false;
  /** Whether somebody is logged in, and the parts are running. */
  #isRunning = false;
  /** Whether the page was connected when it was left or frozen. */
  #wasLeft = false;

  /**
   * @param {Client} client
   * @param {Notifications} notifications
   * @param {Controller[]} parts run while somebody is logged in
   */
  constructor(client, notifications, parts) {
    this.#client = client;
    this.#notifications = notifications;
    this.#parts = parts;
  }

  start() {
    // Browsers do not put a page with an open socket into the back/forward cache.
    addEventListener("pagehide", () => this.#pause());
    addEventListener("pageshow", ({ persisted }) => persisted && this.#resume());
    // A tab that the browser is about to freeze must not keep the connection that tabs share.
    document.addEventListener("freeze", () => this.#pause());
    document.addEventListener("resume", () => this.#resume());
    this.#update();
  }

  /** Elements have changed: update once, in a microtask, when all changes are made. */
  changed() {
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    queueMicrotask(() => {
      this.#isWaiting = false;
      this.#update();
    });
  }

  /** A page that is cached is left first, and frozen later. */
  #pause() {
    this.#wasLeft ||= this.#client.state !== "disconnected";
    this.#client.disconnect();
  }

  #resume() {
    if (this.#wasLeft) this.#client.connect();
    this.#wasLeft = false;
  }

  #update() {
    if (document.documentElement.hasAttribute(PREVIEW)) return;
    const named = readPage();
    if (!named) this.#leave();
    else if (this.#isRunning && isSame(this.#client, named)) this.#reconnect(named);
    else this.#switchTo(named);
  }

  #leave() {
    this.#client.disconnect();
    if (this.#isRunning) for (const part of this.#parts) part.stop();
    this.#isRunning = false;
  }

  /** @param {Named} named */
  #switchTo({ endpoint, userId, followed, unread, addresses }) {
    this.#leave();
    this.#client.become(endpoint, userId, followed, addresses);
    this.#notifications.begin(unread);
    this.#isRunning = true;
    for (const part of this.#parts) part.start();
    this.#client.connect();
  }

  /** @param {Named} named */
  #reconnect({ unread }) {
    if (this.#client.state === "connected") return;
    // The server has rendered this page for the user, so it may accept the connection again.
    this.#notifications.begin(unread);
    this.#client.connect();
  }
}

/**
 * @param {Client} client
 * @param {Named} named
 * @returns {boolean}
 */
function isSame(client, { endpoint, userId }) {
  return client.endpoint === endpoint && client.userId === userId;
}
