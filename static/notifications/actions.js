/** @typedef {import("./notifications.js").Notifications} Notifications */

/** @type {Record<string, (notifications: Notifications, id: number) => Promise<void>>} */
const ACTIONS = {
  read: (notifications, id) => notifications.read([id]),
  unread: (notifications, id) => notifications.unread([id]),
  archive: (notifications, id) => notifications.archive([id]),
  read_all: (notifications) => notifications.readAll(),
  archive_all: (notifications) => notifications.archiveAll(),
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
    act(this.#notifications, Number(button.value)).catch(() => button.form?.requestSubmit(button));
  };
}
