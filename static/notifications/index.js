/**
 * What the template tags load: one connection for the page, and everything that follows it.
 *
 *     import { notifications } from "/static/notifications/index.js";
 *     notifications.on("publication", ({ data }) => console.log(data.title));
 *
 * The tags render how to connect as attributes of their elements, so no page needs inline script.
 */
import { Actions } from "./actions.js";
import { Badge } from "./badge.js";
import { Bell } from "./bell.js";
import { Client } from "./client.js";
import { defineElement } from "./elements.js";
import { List } from "./list.js";
import { Notifications } from "./notifications.js";
import { Opening } from "./opening.js";
import { Times } from "./times.js";
import { Title } from "./title.js";
import { Toasts } from "./toasts.js";
import { Topics } from "./topics.js";

/** @typedef {{client: Client, notifications: Notifications}} Started */

function start() {
  const element = document.querySelector("[data-notifications-socket]");
  const settings = element instanceof HTMLElement ? element.dataset : {};
  const client = new Client(settings.notificationsSocket ?? "", settings.notificationsUser ?? "", {
    followed: settings.notificationsTopics?.split(" ").filter(Boolean) ?? [],
  });
  const notifications = new Notifications(client, Number(settings.notificationsUnread ?? 0));
  // Nobody is logged in on a page without any of the elements.
  if (element) follow(client, notifications, settings.notificationsInbox ?? "");
  return { client, notifications };
}

/**
 * @param {Client} client
 * @param {Notifications} notifications
 * @param {string} inboxUrl
 */
function follow(client, notifications, inboxUrl) {
  for (const part of [
    new Title(notifications),
    new Times(),
    new Toasts(notifications, inboxUrl),
    new Actions(notifications),
    new Opening(notifications),
  ]) {
    part.start();
  }
  defineElement("notification-badge", (element) => new Badge(element, notifications));
  defineElement("notification-list", (element) => new List(element, notifications));
  defineElement("notification-topics", (element) => new Topics(element, notifications));
  defineElement("notification-bell", (element) => new Bell(element, notifications));
  // A page that is left may be kept and shown again; with an open socket it could not be.
  addEventListener("pagehide", () => client.disconnect());
  addEventListener("pageshow", (event) => event.persisted && client.connect());
  client.connect();
}

// The site may know this file under two names, with and without a hash: it still runs once.
const key = Symbol.for("notifications");
const shared = /** @type {Record<symbol, Started | undefined>} */ (/** @type {unknown} */ (globalThis));

/** @type {Started} */
export const { client, notifications } = (shared[key] ??= start());
