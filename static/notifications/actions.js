/** @typedef {import("./notifications.js").Notifications} Notifications */

/** @type {Record<string, (notifications: Notifications, value: string) => Promise<void>>} */
const ACTIONS = {
  read: (notifications, id) => notifications.read([Number(id)]),
  unread: (notifications, id) => notifications.unread([Number(id)]),
  archive: (notifications, id) => notifications.archive([Number(id)]),
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
    const act = button && ACTIONS[button.dataset.notificationAction ?? ""];
    if (!act || this.#notifications.state !== "connected") return;
    event.preventDefault();
    act(this.#notifications, button.value).catch(() => button.form?.requestSubmit(button));
  };
}
