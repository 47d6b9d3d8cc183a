import { formatCount } from "./format.js";

/** @typedef {import("./notifications.js").Notifications} Notifications */

const COUNT = /^\(\d+\+?\) /;

/** Shows the number of unread notifications in front of the page's title. */
export class Title {
  #notifications;

  /** @param {Notifications} notifications */
  constructor(notifications) {
    this.#notifications = notifications;
  }

  start() {
    this.#notifications.on("count", this.#show);
    this.#show();
  }

  stop() {
    this.#notifications.off("count", this.#show);
    document.title = document.title.replace(COUNT, "");
  }

  #show = () => {
    const unread = this.#notifications.unreadCount;
    const title = document.title.replace(COUNT, "");
    document.title = unread > 0 ? `(${formatCount(unread)}) ${title}` : title;
  };
}
