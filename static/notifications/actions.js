import { toInteger } from "./format.js";

/** @import { Notifications } from "./notifications.js" */

/** @type {Record<string, (notifications: Notifications, ids: number[]) => Promise<void>>} */
const OF_ENTRIES = {
  read: (notifications, ids) => notifications.read(ids),
  unread: (notifications, ids) => notifications.unread(ids),
  archive: (notifications, ids) => notifications.archive(ids),
};

/** @type {Record<string, (notifications: Notifications, channel: string) => Promise<void>>} */
const OTHERS = {
  read_all: (notifications) => notifications.readAll(),
  archive_all: (notifications) => notifications.archiveAll(),
  join: (notifications, channel) => notifications.join(channel),
  leave: (notifications, channel) => notifications.leave(channel),
};

/**
 * Performs the actions of buttons with `data-notification-action` over the connection.
 *
 * A button in a form submits the form instead if there is no JavaScript or no connection, or if
 * the call fails.
 */
export class Actions {
  #notifications;

  /** @param {Notifications} notifications */
  constructor(notifications) {
    this.#notifications = notifications;
  }

  start() {
    document.addEventListener("click", this.#onClick);
  }

  stop() {
    document.removeEventListener("click", this.#onClick);
  }

  /** @param {MouseEvent} event */
  #onClick = (event) => {
    const button = event.target instanceof Element && event.target.closest("button");
    if (!button || this.#notifications.state !== "connected") return;
    const done = this.#act(button.dataset.notificationAction ?? "", button.value);
    if (!done) return;
    event.preventDefault();
    done.catch(() => button.form?.requestSubmit(button));
  };

  /**
   * @param {string} name
   * @param {string} value id of an entry, or a channel
   * @returns {Promise<void> | undefined} undefined if the button is not for this class to handle
   */
  #act(name, value) {
    const id = toInteger(value);
    if (name in OF_ENTRIES && id !== undefined) return OF_ENTRIES[name]?.(this.#notifications, [id]);
    return OTHERS[name]?.(this.#notifications, value);
  }
}
