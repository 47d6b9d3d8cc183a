/**
 * One row of a list. It is cloned from the page's `<template>`, so that rows look the same whether
 * the server or the browser has rendered them.
 *
 * @import { Entry } from "./notifications.js"
 */
import { find } from "./elements.js";
import { safeLink, toLevel } from "./format.js";
import { text } from "./texts.js";
import { updateTimes } from "./times.js";

/**
 * @param {HTMLTemplateElement} template
 * @param {Entry} entry
 * @returns {HTMLElement}
 */
export function makeRow(template, entry) {
  const copy = /** @type {DocumentFragment} */ (document.importNode(template.content, true));
  const row = find(copy, "[data-id]");
  const level = toLevel(entry.level);
  row.dataset.id = String(entry.id);
  row.dataset.level = level;
  row.dataset.channel = entry.channel ?? "";
  row.dataset.offset = String(entry.offset ?? 0);
  find(row, "[data-part=level]").textContent = text(level);
  find(row, "[data-part=actor]").textContent = entry.actor?.name ?? "";
  find(row, "[data-part=body]").textContent = entry.body ?? "";
  const title = find(row, "[data-part=title]");
  title.textContent = entry.title;
  setLink(title, entry);
  const time = find(row, "time");
  time.setAttribute("datetime", entry.published ?? entry.created ?? new Date().toISOString());
  for (const button of row.querySelectorAll("button")) {
    button.value = String(entry.id);
    button.setAttribute("formaction", button.formAction.replace(/\/0\/$/, `/${entry.id}/`));
    const action = button.textContent?.trim() ?? "";
    button.setAttribute("aria-label", text("action", { action, title: entry.title }));
  }
  setState(row, { read: entry.read ?? false, archived: entry.archived ?? false });
  updateTimes(row);
  return row;
}

/**
 * @param {HTMLElement} row
 * @param {{read: boolean, archived: boolean}} state
 */
export function setState(row, { read, archived }) {
  row.toggleAttribute("data-read", read);
  row.toggleAttribute("data-archived", archived);
  find(row, "[data-part=unread]").hidden = read;
  const shown = { read: !read, unread: read || archived, archive: !archived };
  for (const [action, show] of Object.entries(shown)) {
    find(row, `[data-notification-action=${action}]`).hidden = !show;
  }
}

/**
 * @param {HTMLElement} element an `<a>`, which is not a link without an `href`
 * @param {Entry} entry
 */
export function setLink(element, entry) {
  const url = safeLink(entry.url);
  if (!url) return;
  element.setAttribute("href", url);
  element.dataset.notificationLink = String(entry.id);
}
