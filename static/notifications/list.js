/**
 * A list that is kept up to date: in the bell's panel, `live_notify_list` and the inbox page.
 *
 * @import { Change, Entry, Folder, Notifications } from "./notifications.js"
 */
import { find } from "./elements.js";
import { makeRow, setState } from "./entry.js";
import { toInteger } from "./format.js";
import { reaches } from "./notifications.js";
import { Debounced } from "./debounced.js";
import { countedText } from "./texts.js";
import { updateTimes } from "./times.js";

const LARGEST_PAGE = 100;
const DEFAULT_LIMIT = 20;

/**
 * Attributes of the element say what to list: `data-folder`, `data-limit`, `data-before` (the
 * cursor of a page behind the first) and `data-trim` (never more rows than the limit).
 */
export class List {
  #element;
  #notifications;
  #folder;
  #limit;
  #before;
  #fresh = 0;
  #isRunning = false;
  /** Whether the last refresh has failed; the next connection repeats it. */
  #isStale = false;
  #refresher = new Debounced(() => this.#refresh());

  /**
   * @param {HTMLElement} element
   * @param {Notifications} notifications
   */
  constructor(element, notifications) {
    this.#element = element;
    this.#notifications = notifications;
    this.#folder = /** @type {Folder} */ (element.dataset.folder ?? "all");
    this.#limit = toInteger(element.dataset.limit) ?? DEFAULT_LIMIT;
    this.#before = element.dataset.before ?? "";
  }

  start() {
    this.#isRunning = true;
    this.#notifications.on("publication", this.#published);
    this.#notifications.on("change", this.#changed);
    this.#notifications.on("connected", this.#connected);
    updateTimes(this.#element);
    // The rows come from the server's page or a cache, and may be outdated by now.
    if (this.#notifications.state === "connected") this.#refresher.schedule();
  }

  stop() {
    this.#isRunning = false;
    this.#notifications.off("publication", this.#published);
    this.#notifications.off("change", this.#changed);
    this.#notifications.off("connected", this.#connected);
    this.#refresher.cancel();
  }

  get #rows() {
    return find(this.#element, "[data-part=rows]");
  }

  /** @param {Entry} entry */
  #make(entry) {
    const template = /** @type {HTMLTemplateElement} */ (find(this.#element, "template"));
    return makeRow(template, entry);
  }

  /** Fetches the list from the server at once. */
  refreshNow() {
    return this.#refresher.now();
  }

  async #refresh() {
    this.#isStale = true;
    const rows = this.#isTrimmed ? 0 : this.#rows.children.length;
    const limit = Math.min(LARGEST_PAGE, Math.max(this.#limit, rows));
    this.#element.setAttribute("aria-busy", "true");
    try {
      const entries = await this.#ask(limit);
      this.#isStale = false;
      // The list may have been stopped in the meantime.
      if (this.#isRunning) this.#show(entries);
    } finally {
      this.#element.removeAttribute("aria-busy");
    }
  }

  /**
   * Fetches several pages if the server returns short ones, because entries are large.
   * @param {number} limit
   */
  async #ask(limit) {
    /** @type {Entry[]} */
    const entries = [];
    let before = this.#before ?? "";
    do {
      const page = await this.#notifications.list({
        folder: this.#folder,
        limit: limit - entries.length,
        ...(before ? { before } : {}),
      });
      entries.push(...page.entries);
      before = page.next ?? "";
    } while (before && entries.length < limit);
    return entries;
  }

  get #isTrimmed() {
    return "trim" in this.#element.dataset;
  }

  /** @param {Entry[]} entries */
  #show(entries) {
    const wanted = entries.map((entry) => {
      const row = this.#find(entry.id);
      if (!row) return this.#make(entry);
      setState(row, { read: entry.read ?? false, archived: entry.archived ?? false });
      return row;
    });
    const kept = new Set(wanted);
    for (const row of this.#all()) if (!kept.has(row)) this.#remove(row);
    // Rows that are already in place are not moved, so that they keep the focus.
    wanted.forEach((row, index) => {
      const there = this.#rows.children[index];
      if (there !== row) this.#rows.insertBefore(row, there ?? null);
    });
    this.#showEmpty();
  }

  #connected = () => {
    if (this.#isStale) this.#refresher.schedule();
  };

  /** @param {{channel: string, offset: number, data: Entry, recovered: boolean}} publication */
  #published = ({ channel, offset, data, recovered }) => {
    if (this.#folder === "archived" || this.#find(data.id)) return;
    if (this.#before) {
      this.#showFresh();
      return;
    }
    if (recovered) {
      // Another device may have read it already.
      this.#refresher.schedule();
      return;
    }
    const published = new Date().toISOString();
    this.#rows.prepend(this.#make({ ...data, channel, offset, published }));
    // The answer to a running request may be from before this publication.
    if (this.#element.hasAttribute("aria-busy")) this.#refresher.schedule();
    if (this.#isTrimmed) this.#all().slice(this.#limit).forEach((row) => row.remove());
    this.#showEmpty();
  };

  /** @param {Change} change */
  #changed = (change) => {
    const { type, ids, isOwn = false } = change;
    if (type === "read" || type === "read_all") {
      this.#read(this.#reached(change), isOwn);
    } else if (type === "archive" || type === "archive_all") {
      this.#archive(this.#reached(change), isOwn);
    } else if (type === "unread") {
      this.#unread(this.#reached(change), ids.length);
    } else if (type === "sync") {
      this.#refresher.schedule();
    }
  };

  /**
   * @param {Change} change
   * @returns {HTMLElement[]} the rows that it affects
   */
  #reached(change) {
    if (change.type === "read_all" || change.type === "archive_all") {
      return this.#all().filter((row) => reaches(change, place(row)));
    }
    return change.ids.map((id) => this.#find(id)).filter((row) => row !== null);
  }

  /**
   * @param {HTMLElement[]} rows
   * @param {boolean} isOwn
   */
  #read(rows, isOwn) {
    for (const row of rows) {
      if (this.#folder === "unread") this.#remove(row);
      else setState(row, { read: true, archived: "archived" in row.dataset });
    }
    this.#refill(isOwn);
  }

  /**
   * @param {HTMLElement[]} rows
   * @param {boolean} isOwn
   */
  #archive(rows, isOwn) {
    if (this.#folder === "archived") {
      this.#refresher.schedule();
      return;
    }
    for (const row of rows) this.#remove(row);
    this.#refill(isOwn);
  }

  /**
   * @param {HTMLElement[]} rows
   * @param {number} changed
   */
  #unread(rows, changed) {
    for (const row of rows) {
      if (this.#folder === "archived") this.#remove(row);
      else setState(row, { read: false, archived: false });
    }
    if (this.#folder !== "archived" && rows.length < changed) this.#refresher.schedule();
    this.#showEmpty();
  }

  /**
   * Refills the list of unread notifications when rows have left. While another device reads one
   * by one, the list may shrink to half its limit first, to save requests.
   *
   * @param {boolean} isOwn
   */
  #refill(isOwn) {
    this.#showEmpty();
    const rows = this.#rows.children.length;
    const isShort = isOwn ? rows < this.#limit : rows < this.#limit / 2;
    const hasMore = this.#notifications.unreadCount > rows;
    if (this.#folder === "unread" && isShort && hasMore) this.#refresher.schedule();
  }

  /** @param {HTMLElement} row */
  #remove(row) {
    const hadFocus = row.contains(document.activeElement);
    const neighbour = row.nextElementSibling ?? row.previousElementSibling;
    row.remove();
    if (!hadFocus) return;
    const next = neighbour?.querySelector("button:not([hidden])") ?? this.#element.closest("[tabindex]");
    if (next instanceof HTMLElement) next.focus();
  }

  #showEmpty() {
    find(this.#element, "[data-part=empty]").hidden = this.#rows.children.length > 0;
  }

  #showFresh() {
    const link = this.#element.querySelector("[data-part=fresh]");
    if (!(link instanceof HTMLElement)) return;
    this.#fresh += 1;
    link.textContent = countedText("fresh", this.#fresh);
    link.hidden = false;
  }

  /** @returns {HTMLElement[]} */
  #all() {
    return /** @type {HTMLElement[]} */ ([...this.#rows.children]);
  }

  /**
   * @param {number} id
   * @returns {HTMLElement | null}
   */
  #find(id) {
    return this.#rows.querySelector(`[data-id="${Number(id)}"]`);
  }
}

/**
 * @param {HTMLElement} row
 * @returns {{channel: string | undefined, offset: number | undefined}} undefined in rows that the
 *   server has rendered
 */
function place({ dataset }) {
  return { channel: dataset.channel, offset: toInteger(dataset.offset) };
}
