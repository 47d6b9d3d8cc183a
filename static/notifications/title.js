import { formatCount } from "./format.js";

/** @import { Notifications } from "./notifications.js" */

const COUNT = /^\(\d+\+?\) /;

/** Shows the unread count in front of the page's title. */
export class Title {
  #notifications;
  /** A library that swaps the page's content sets a new title. */
  #observer = new MutationObserver(() => this.#show());

  /** @param {Notifications} notifications */
  constructor(notifications) {
    this.#notifications = notifications;
  }

  start() {
    this.#notifications.on("count", this.#show);
    this.#observer.observe(document.head, { childList: true, subtree: true, characterData: true });
    this.#show();
  }

  stop() {
    this.#notifications.off("count", this.#show);
    this.#observer.disconnect();
    document.title = document.title.replace(COUNT, "");
  }

  #show = () => {
    const unread = this.#notifications.unreadCount;
    const title = document.title.replace(COUNT, "");
    const wanted = unread > 0 ? `(${formatCount(unread)}) ${title}` : title;
    if (document.title !== wanted) document.title = wanted;
  };
}
