/**
 * Whose page this is at the moment, and everything that follows from it.
 *
 * Libraries such as Turbo or htmx swap the page without loading it anew: what an element says holds
 * until the next one, and so does who is logged in.
 *
 * @typedef {import("./client.js").Client} Client
 * @typedef {import("./elements.js").Controller} Controller
 * @typedef {import("./notifications.js").Notifications} Notifications
 *
 * @typedef {object} Named
 * @property {string} endpoint path of the socket
 * @property {string} userId
 * @property {number} unread
 * @property {string[]} followed topics
 * @property {string} inboxUrl
 */
import { toInteger } from "./format.js";

const NAMING = "[data-notifications-socket]";

/** What a library carries over from the page before says who was logged in then. */
const CARRIED_OVER = "[data-turbo-permanent], [hx-preserve], [data-hx-preserve]";

/** Turbo shows the page as it was at the last visit, until it has the present one. */
const PREVIEW = "data-turbo-preview";

/** @returns {Named | null} null when nobody is logged in */
export function readPage() {
  const elements = /** @type {HTMLElement[]} */ ([...document.querySelectorAll(NAMING)]);
  const element = elements.find((one) => !one.closest(CARRIED_OVER)) ?? elements[0];
  if (!element) return null;
  const { dataset } = element;
  return {
    endpoint: dataset.notificationsSocket ?? "",
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
  /** Somebody is logged in: the parts run. */
  #isFollowed = false;
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
    // A page that is left may be kept and shown again; with an open socket it could not be.
    addEventListener("pagehide", () => {
      this.#wasLeft = this.#client.state !== "disconnected";
      this.#client.disconnect();
    });
    addEventListener("pageshow", (event) => {
      if (event.persisted && this.#wasLeft) this.#client.connect();
    });
    this.#look();
  }

  /** Elements have changed: looks once, when whoever changes them has finished. */
  changed() {
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    queueMicrotask(() => {
      this.#isWaiting = false;
      this.#look();
    });
  }

  #look() {
    if (document.documentElement.hasAttribute(PREVIEW)) return;
    const named = readPage();
    if (!named) this.#leave();
    else if (this.#isFollowed && isSame(this.#client, named)) this.#goOn(named);
    else this.#follow(named);
  }

  #leave() {
    this.#client.disconnect();
    if (this.#isFollowed) for (const part of this.#parts) part.stop();
    this.#isFollowed = false;
  }

  /** @param {Named} named */
  #follow({ endpoint, userId, followed, unread }) {
    this.#leave();
    this.#client.become(endpoint, userId, followed);
    this.#notifications.begin(unread);
    this.#isFollowed = true;
    for (const part of this.#parts) part.start();
    this.#client.connect();
  }

  /** @param {Named} named */
  #goOn({ unread }) {
    if (this.#client.state === "connected") return;
    // The server has made this page, and so knows the user again if it did not before.
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
