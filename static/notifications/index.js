/**
 * The entry point that the template tags load: one connection for the page, and all components
 * that use it. They live as long as the page, even if a library swaps its content.
 *
 *     import { notifications } from "/static/notifications/index.js"
 *     notifications.on("publication", ({ data }) => console.log(data.title));
 *
 * The tags render the connection parameters as attributes, so no page needs an inline script.
 */
import { Actions } from "./actions.js";
import { Badge } from "./badge.js";
import { Bell } from "./bell.js";
import { Client } from "./client.js";
import { defineElement } from "./elements.js";
import { List } from "./list.js";
import { Notifications } from "./notifications.js";
import { Opening } from "./opening.js";
import { Page, readPage } from "./page.js";
import { openShared } from "./tabs.js";
import { Times } from "./times.js";
import { Title } from "./title.js";
import { TAG, Toasts } from "./toasts.js";
import { Topics } from "./topics.js";

/** @typedef {{client: Client, notifications: Notifications}} Started */

/** @returns {Started} two objects that stay the same when another user logs in on this page */
function start() {
  const client = new Client("", "", { share: openShared });
  const notifications = new Notifications(client, 0);
  const toasts = new Toasts(notifications, () => readPage()?.inboxUrl ?? "");
  const page = new Page(client, notifications, [
    new Title(notifications),
    new Times(),
    toasts,
    new Actions(notifications),
    new Opening(notifications),
  ]);
  page.start();
  const changed = () => page.changed();
  defineElement(TAG, (element) => toasts.controlOf(element), changed);
  defineElement("notification-badge", (element) => new Badge(element, notifications), changed);
  defineElement("notification-list", (element) => new List(element, notifications), changed);
  defineElement("notification-topics", (element) => new Topics(element, notifications), changed);
  defineElement("notification-bell", (element) => new Bell(element, notifications), changed);
  return { client, notifications };
}

// The site may serve this file under two names, with and without a hash. It must run only once.
const key = Symbol.for("notifications");
const shared = /** @type {Record<symbol, Started | undefined>} */ (/** @type {unknown} */ (globalThis));

/** @type {Started} */
export const { client, notifications } = (shared[key] ??= start());
