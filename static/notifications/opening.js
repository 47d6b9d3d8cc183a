import { toInteger } from "./format.js";

/** @import { Notifications } from "./notifications.js" */

/** Milliseconds that following a link waits for its notification to be marked as read. */
const READ_TIMEOUT_MS = 400;

/**
 * Marks a notification as read when its link (`data-notification-link`) is opened.
 *
 * The click is held back, and repeated afterwards, so that the browser or a library follows it.
 */
export class Opening {
  #notifications;
  /** @type {HTMLAnchorElement | null} the link whose click is being repeated */
  #again = null;

  /** @param {Notifications} notifications */
  constructor(notifications) {
    this.#notifications = notifications;
  }

  start() {
    document.addEventListener("click", this.#onClick);
    document.addEventListener("auxclick", this.#onClick);
  }

  stop() {
    document.removeEventListener("click", this.#onClick);
    document.removeEventListener("auxclick", this.#onClick);
  }

  /** @param {MouseEvent} event */
  #onClick = (event) => {
    const link = event.target instanceof Element && event.target.closest("a");
    if (!link || !link.href || link === this.#again || event.button > 1) return;
    const id = toInteger(link.dataset.notificationLink);
    if (id === undefined || this.#notifications.state !== "connected") return;
    const settled = this.#notifications.read([id]).catch(() => undefined);
    // Another handler opens the link, or it opens in another tab or window: this page stays.
    if (event.defaultPrevented || event.button) return;
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    Promise.race([settled, wait(READ_TIMEOUT_MS)]).then(() => this.#open(link));
  };

  /** @param {HTMLAnchorElement} link may have been removed together with the row that was read */
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
