import { formatCount } from "./format.js";

/** @import { Notifications } from "./notifications.js" */

/** Shows the unread count in an element, which is empty and hidden when the count is 0. */
export class Badge {
  #element;
  #notifications;

  /**
   * @param {HTMLElement} element
   * @param {Notifications} notifications
   */
  constructor(element, notifications) {
    this.#element = element;
    this.#notifications = notifications;
  }

  start() {
    this.#notifications.on("count", this.#show);
    this.#show();
  }

  stop() {
    this.#notifications.off("count", this.#show);
  }

  #show = () => {
    const unread = this.#notifications.unreadCount;
    this.#element.textContent = unread > 0 ? formatCount(unread) : "";
    this.#element.hidden = unread <= 0;
  };
}
