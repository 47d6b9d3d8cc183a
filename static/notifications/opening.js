/** @typedef {import("./notifications.js").Notifications} Notifications */

/** How long a page may stay to have its notification marked as read, in milliseconds. */
const PATIENCE = 400;

/** Marks a notification as read when its link, one with `data-notification-link`, is opened. */
export class Opening {
  #notifications;

  /** @param {Notifications} notifications */
  constructor(notifications) {
    this.#notifications = notifications;
  }

  start() {
    document.addEventListener("click", this.#clicked);
    document.addEventListener("auxclick", this.#clicked);
  }

  stop() {
    document.removeEventListener("click", this.#clicked);
    document.removeEventListener("auxclick", this.#clicked);
  }

  /** @param {MouseEvent} event */
  #clicked = (event) => {
    const link = event.target instanceof Element && event.target.closest("a");
    if (!link || !link.href || !link.dataset.notificationLink || event.button > 1) return;
    if (this.#notifications.state !== "connected") return;
    const read = this.#notifications.read([Number(link.dataset.notificationLink)]);
    const settled = read.catch(() => undefined);
    if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    Promise.race([settled, wait(PATIENCE)]).then(() => location.assign(link.href));
  };
}

/** @param {number} milliseconds */
function wait(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
