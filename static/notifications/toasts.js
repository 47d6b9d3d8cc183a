/**
 * Short-lived messages in a corner of the page.
 *
 * @import { Change, Entry, Notifications } from "./notifications.js"
 * @import { Controller } from "./elements.js"
 */
import { make } from "./elements.js";
import { setLink } from "./entry.js";
import { toLevel } from "./format.js";
import { reaches } from "./notifications.js";
import { countedText, text } from "./texts.js";

/** A custom element, because these are notified when they are removed from the page. */
export const TAG = "notification-toasts";

/** How many toasts are shown at once. */
const MAX_TOASTS = 4;
/** Milliseconds until a toast disappears. */
const DURATION_MS = 6000;
/** Milliseconds: publications closer together are handled as one batch, as in a backlog. */
const BATCH_DELAY_MS = 50;
/** A larger batch is not waited for, because a stream of publications may not pause for hours. */
const MAX_BATCH = 100;
/** How many of the newest unread notifications are fetched to filter a backlog. */
const MAX_UNREAD_FETCHED = 100;

export class Toasts {
  #notifications;
  #inboxUrl;
  #polite = make("div", { "aria-live": "polite" });
  #assertive = make("div", { "aria-live": "assertive" });
  #more = make("a", { class: "notification-toasts__more" });
  #root = document.createElement(TAG);
  #isRunning = false;
  /** @type {Entry[]} */
  #gathered = [];
  #gatherTimer = 0;
  #isBacklog = false;
  #overflow = 0;
  /** @type {Map<HTMLElement, number>} the timer of each toast */
  #timers = new Map();
  /** @type {WeakMap<HTMLElement, Entry>} */
  #shown = new WeakMap();
  /** @type {HTMLElement | null} */
  #summary = null;
  #summarized = 0;

  /**
   * @param {Notifications} notifications
   * @param {() => string} inboxUrl returns the URL of the inbox that the current page names
   */
  constructor(notifications, inboxUrl) {
    this.#notifications = notifications;
    this.#inboxUrl = inboxUrl;
    this.#root.className = "notification-toasts";
    this.#root.setAttribute("role", "region");
    this.#root.append(this.#assertive, this.#polite, this.#more);
    this.#showMore();
  }

  start() {
    this.#isRunning = true;
    this.#place();
    this.#root.addEventListener("pointerenter", this.#hold);
    this.#root.addEventListener("pointerleave", this.#release);
    this.#root.addEventListener("focusin", this.#hold);
    this.#root.addEventListener("focusout", this.#release);
    document.addEventListener("visibilitychange", this.#release);
    this.#notifications.on("publication", this.#published);
    this.#notifications.on("change", this.#changed);
  }

  stop() {
    this.#isRunning = false;
    this.#notifications.off("publication", this.#published);
    this.#notifications.off("change", this.#changed);
    document.removeEventListener("visibilitychange", this.#release);
    clearTimeout(this.#gatherTimer);
    this.#gathered = [];
    for (const toast of [...this.#timers.keys()]) this.#dismiss(toast);
    this.#root.remove();
  }

  /**
   * @param {HTMLElement} element the container of toasts: this object's own, or a copy that a
   *   library has restored with a cached page
   * @returns {Controller} keeps the own container in the page when content
   *   is swapped, and removes copies
   */
  controlOf(element) {
    return {
      start: () => {
        if (element !== this.#root) element.remove();
      },
      stop: () => this.#place(),
    };
  }

  #place() {
    if (this.#isRunning && !this.#root.isConnected) document.body.append(this.#root);
  }

  /** @param {{channel: string, offset: number, data: Entry, recovered: boolean}} publication */
  #published = ({ channel, offset, data, recovered }) => {
    this.#gathered.push({ ...data, channel, offset });
    this.#isBacklog ||= recovered;
    clearTimeout(this.#gatherTimer);
    if (this.#gathered.length >= MAX_BATCH) this.#show();
    else this.#gatherTimer = setTimeout(() => this.#show(), BATCH_DELAY_MS);
  };

  async #show() {
    const gathered = this.#gathered.splice(0);
    const isBacklog = this.#isBacklog;
    this.#isBacklog = false;
    const entries = isBacklog ? await this.#stillUnread(gathered) : gathered;
    if (!this.#isRunning) return;
    if (entries.length > MAX_TOASTS) {
      this.#summarize(entries.length);
    } else {
      entries.forEach((entry) => this.#add(entry));
    }
  }

  /**
   * Drops entries of a backlog that another device has read in the meantime.
   *
   * @param {Entry[]} entries
   */
  async #stillUnread(entries) {
    try {
      const page = await this.#notifications.list({ folder: "unread", limit: MAX_UNREAD_FETCHED });
      const unread = new Set(page.entries.map(({ id }) => id));
      const oldest = page.next ? Math.min(...unread) : 0;
      return entries.filter(({ id }) => unread.has(id) || id < oldest);
    } catch {
      return entries;
    }
  }

  /** @param {Entry} entry */
  #add(entry) {
    if (this.#timers.size >= MAX_TOASTS) {
      this.#overflow += 1;
      this.#showMore();
      return;
    }
    const level = toLevel(entry.level);
    const title = make("a", { class: "notification-toast__title", dir: "auto" }, [entry.title]);
    setLink(title, entry);
    const toast = this.#make(level, [
      make("p", { class: "notification-level" }, [text(level)]),
      title,
      ...(entry.body ? [makeBody(entry.body)] : []),
    ]);
    toast.dataset.id = String(entry.id);
    this.#shown.set(toast, entry);
    this.#put(toast, level === "warning" || level === "error" ? this.#assertive : this.#polite);
  }

  /** @param {number} count */
  #summarize(count) {
    this.#summarized = (this.#summary ? this.#summarized : 0) + count;
    const title = make("a", { class: "notification-toast__title", href: this.#inboxUrl() }, [
      countedText("fresh", this.#summarized),
    ]);
    const toast = this.#make("info", [title]);
    if (this.#summary) this.#dismiss(this.#summary);
    this.#summary = toast;
    this.#put(toast, this.#polite);
  }

  /**
   * @param {string} level
   * @param {Node[]} content
   */
  #make(level, content) {
    const close = make("button", { type: "button", class: "notification-toast__close" }, ["×"]);
    close.setAttribute("aria-label", text("dismiss"));
    const toast = make("div", { class: "notification-toast", "data-level": level }, [
      make("div", { class: "notification-toast__content" }, content),
      close,
    ]);
    close.addEventListener("click", () => this.#dismiss(toast));
    return toast;
  }

  /**
   * @param {HTMLElement} toast
   * @param {HTMLElement} region
   */
  #put(toast, region) {
    region.append(toast);
    this.#timers.set(toast, 0);
    this.#run(toast);
  }

  /** @param {HTMLElement} toast */
  #run(toast) {
    clearTimeout(this.#timers.get(toast));
    if (this.#isHeld) return;
    this.#timers.set(toast, setTimeout(() => this.#dismiss(toast), DURATION_MS));
  }

  /** @param {HTMLElement} toast */
  #dismiss(toast) {
    clearTimeout(this.#timers.get(toast));
    this.#timers.delete(toast);
    toast.remove();
    if (toast === this.#summary) this.#summary = null;
    if (!this.#timers.size) this.#overflow = 0;
    this.#showMore();
  }

  /** Whether toasts stay: on a hidden page, and under the pointer or the focus. */
  get #isHeld() {
    return document.hidden || this.#root.matches(":hover, :focus-within");
  }

  #hold = () => {
    for (const timer of this.#timers.values()) clearTimeout(timer);
  };

  #release = () => {
    this.#hold();
    for (const toast of this.#timers.keys()) this.#run(toast);
  };

  /** @param {Change} change */
  #changed = (change) => {
    const all = change.type === "read_all" || change.type === "archive_all";
    if (!all && change.type !== "read" && change.type !== "archive") return;
    for (const toast of [...this.#timers.keys()]) {
      const entry = this.#shown.get(toast);
      const isReached = all ? reaches(change, entry ?? {}) : entry && change.ids.includes(entry.id);
      if (isReached) this.#dismiss(toast);
    }
  };

  #showMore() {
    this.#root.setAttribute("aria-label", text("region"));
    this.#more.href = this.#inboxUrl();
    this.#more.hidden = this.#overflow === 0;
    this.#more.textContent = countedText("more", this.#overflow);
  }
}

/** @param {string} body */
function makeBody(body) {
  return make("p", { class: "notification-toast__body", dir: "auto" }, [body]);
}
