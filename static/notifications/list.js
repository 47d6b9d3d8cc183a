/**
 * A list that follows the inbox: the panel of the bell, `live_notify_list`, the inbox page.
 *
 * @typedef {import("./notifications.js").Change} Change
 * @typedef {import("./notifications.js").Entry} Entry
 * @typedef {import("./notifications.js").Folder} Folder
 * @typedef {import("./notifications.js").Notifications} Notifications
 */
import { find } from "./elements.js";
import { makeRow, setState } from "./entry.js";

const LARGEST_PAGE = 100;
/** A backlog comes as many publications and is one reason to look again, in milliseconds. */
const GATHERING = 50;

/**
 * Its element says what to list: `data-folder`, `data-limit`, `data-before` (a page behind the
 * first) and `data-trim` (no more rows than the limit, however many come).
 */
export class List {
  #element;
  #notifications;
  #rows;
  #template;
  #folder;
  #limit;
  #before;
  #fresh = 0;
  #refreshTimer = 0;

  /**
   * @param {HTMLElement} element
   * @param {Notifications} notifications
   */
  constructor(element, notifications) {
    this.#element = element;
    this.#notifications = notifications;
    this.#rows = find(element, "[data-part=rows]");
    this.#template = /** @type {HTMLTemplateElement} */ (find(element, "template"));
    this.#folder = /** @type {Folder} */ (element.dataset.folder ?? "all");
    this.#limit = Number(element.dataset.limit ?? 20);
    this.#before = element.dataset.before ?? "";
  }

  start() {
    this.#notifications.on("publication", this.#published);
    this.#notifications.on("change", this.#changed);
  }

  stop() {
    this.#notifications.off("publication", this.#published);
    this.#notifications.off("change", this.#changed);
    clearTimeout(this.#refreshTimer);
  }

  /** Asks the server what the list holds. */
  async refresh() {
    const rows = this.#isTrimmed ? 0 : this.#rows.children.length;
    const limit = Math.min(LARGEST_PAGE, Math.max(this.#limit, rows));
    this.#element.setAttribute("aria-busy", "true");
    try {
      this.#show(await this.#ask(limit));
    } finally {
      this.#element.removeAttribute("aria-busy");
    }
  }

  /**
   * Big entries come on more pages than one.
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
      if (!row) return makeRow(this.#template, entry);
      setState(row, { read: entry.read ?? false, archived: entry.archived ?? false });
      return row;
    });
    const kept = new Set(wanted);
    for (const row of this.#all()) if (!kept.has(row)) this.#remove(row);
    // Rows that are in place already stay untouched, and with them the focus.
    wanted.forEach((row, index) => {
      const there = this.#rows.children[index];
      if (there !== row) this.#rows.insertBefore(row, there ?? null);
    });
    this.#showEmpty();
  }

  /** @param {{data: Entry, recovered: boolean}} publication */
  #published = ({ data, recovered }) => {
    if (this.#folder === "archived" || this.#find(data.id)) return;
    if (this.#before) {
      this.#showFresh();
      return;
    }
    if (recovered) {
      // Another device may have read it meanwhile.
      this.#refreshSoon();
      return;
    }
    this.#rows.prepend(makeRow(this.#template, { ...data, published: new Date().toISOString() }));
    if (this.#isTrimmed) this.#all().slice(this.#limit).forEach((row) => row.remove());
    this.#showEmpty();
  };

  /** @param {Change} change */
  #changed = ({ type, ids }) => {
    const all = type === "read_all" || type === "archive_all";
    const rows = all ? this.#all() : ids.map((id) => this.#find(id)).filter((row) => row !== null);
    if (type === "read" || type === "read_all") {
      this.#read(rows);
    } else if (type === "archive" || type === "archive_all") {
      this.#archive(rows);
    } else if (type === "unread") {
      this.#unread(rows, ids.length);
    } else if (type === "sync") {
      this.#refreshQuietly();
    }
  };

  /** @param {HTMLElement[]} rows */
  #read(rows) {
    for (const row of rows) {
      if (this.#folder === "unread") this.#remove(row);
      else setState(row, { read: true, archived: "archived" in row.dataset });
    }
    this.#refill();
  }

  /** @param {HTMLElement[]} rows */
  #archive(rows) {
    if (this.#folder === "archived") {
      this.#refreshQuietly();
      return;
    }
    for (const row of rows) this.#remove(row);
    this.#refill();
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
    if (this.#folder !== "archived" && rows.length < changed) this.#refreshQuietly();
    this.#showEmpty();
  }

  /** What has left may make room for what did not fit. */
  #refill() {
    this.#showEmpty();
    const isShort = this.#rows.children.length < this.#limit;
    const hasMore = this.#notifications.unreadCount > this.#rows.children.length;
    if (this.#folder === "unread" && isShort && hasMore) this.#refreshQuietly();
  }

  #refreshSoon() {
    clearTimeout(this.#refreshTimer);
    this.#refreshTimer = setTimeout(() => this.#refreshQuietly(), GATHERING);
  }

  #refreshQuietly() {
    // A connection that is lost meanwhile brings a sync when it is back.
    this.refresh().catch(() => undefined);
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
    link.textContent = this.#fresh === 1 ? "1 new notification" : `${this.#fresh} new notifications`;
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
