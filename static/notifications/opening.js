import { toInteger } from "./format.js";

/** @typedef {import("./notifications.js").Notifications} Notifications */

/** How long a page may stay to have its notification marked as read, in milliseconds. */
const PATIENCE = 400;

/**
 * Marks a notification as read when its link, one with `data-notification-link`, is opened.
 *
 * The link is then clicked again, for whoever follows links on this page: the browser or a library.
 */
export class Opening {
  #notifications;
  /** @type {HTMLAnchorElement | null} that is being clicked again */
  #again = null;

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
    if (!link || !link.href || link === this.#again || event.button > 1) return;
    const id = toInteger(link.dataset.notificationLink);
    if (id === undefined || this.#notifications.state !== "connected") return;
    const settled = this.#notifications.read([id]).catch(() => undefined);
    // Somebody else opens it, or it opens elsewhere: this page stays.
    if (event.defaultPrevented || event.button) return;
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    Promise.race([settled, wait(PATIENCE)]).then(() => this.#open(link));
  };

  /** @param {HTMLAnchorElement} link that may have gone from the page with the row that was read */
  #open(link) {
    const copy = /** @type {HTMLAnchorElement} */ (link.cloneNode());
    this.#again = link.isConnected ? link : copy;
    copy.hidden = true;
    if (this.#again === copy) document.body.append(copy);
    this.#again.click();
    copy.remove();
    this.#again = null;
  }
}

/** @param {number} milliseconds */
function wait(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
