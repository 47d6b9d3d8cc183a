import { toInteger } from "./format.js";

/** @typedef {import("./notifications.js").Notifications} Notifications */

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
 * Sends what the buttons with `data-notification-action` mean over the connection.
 *
 * Where these belong to a form, that is what they do without JavaScript, while the connection is
 * away, and when it fails.
 */
export class Actions {
  #notifications;

  /** @param {Notifications} notifications */
  constructor(notifications) {
    this.#notifications = notifications;
  }

  start() {
    document.addEventListener("click", this.#clicked);
  }

  stop() {
    document.removeEventListener("click", this.#clicked);
  }

  /** @param {MouseEvent} event */
  #clicked = (event) => {
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
   * @returns {Promise<void> | undefined} undefined where it is for the form to do
   */
  #act(name, value) {
    const id = toInteger(value);
    if (name in OF_ENTRIES && id !== undefined) return OF_ENTRIES[name]?.(this.#notifications, [id]);
    return OTHERS[name]?.(this.#notifications, value);
  }
}
