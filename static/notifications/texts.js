/**
 * Texts for people, in the language of the page.
 *
 * The template tags render the translations into an attribute, so no page needs an inline script,
 * and a page in another language that a library swaps in brings its own. The plural forms are made
 * by gettext on the server: `forms`, and in `starts` from which number on which of them is right.
 *
 * @typedef {{forms: string[], starts: [number, number][]}} Counted
 */
import { findNaming } from "./page.js";

/** The texts in a page whose tags have been replaced by others. A test compares them with Python's. */
export const ENGLISH = {
  /** Language tag, as for `Intl`; "" if unknown. */
  language: "",
  notifications: "Notifications",
  none_unread: "Notifications, none unread",
  state: "%(label)s, %(state)s",
  offline: "Offline – reconnecting",
  signed_out: "Signed out – reload the page",
  ended: "Disconnected – reload the page",
  region: "New notifications",
  dismiss: "Dismiss",
  action: "%(action)s: %(title)s",
  following: "Following",
  joined: "You follow “%(topic)s” from now on.",
  left: "You no longer follow “%(topic)s”.",
  debug: "Debug",
  info: "Info",
  success: "Success",
  warning: "Warning",
  error: "Error",
};

/** @type {Record<"unread" | "fresh" | "more", Counted>} */
export const ENGLISH_COUNTED = {
  unread: { forms: ["Notifications, %(count)s unread"], starts: [[0, 0]] },
  fresh: {
    forms: ["%(count)s new notifications", "%(count)s new notification"],
    starts: [[0, 0], [1, 1], [2, 0]],
  },
  more: { forms: ["+%(count)s more"], starts: [[0, 0]] },
};

/** From this number on, the last two digits decide which plural form is right. */
const PERIODIC = 100;

/** The attribute that was read last, and what it contains. */
let json = "";
let texts = { ...ENGLISH, ...ENGLISH_COUNTED };

function current() {
  const found = findNaming()?.dataset.notificationsTexts ?? "";
  if (found !== json) {
    json = found;
    texts = { ...ENGLISH, ...ENGLISH_COUNTED, ...(found ? JSON.parse(found) : {}) };
  }
  return texts;
}

/**
 * @param {Exclude<keyof typeof ENGLISH, "language">} name
 * @param {Record<string, string>} [values] replace the placeholders of these names
 * @returns {string}
 */
export function text(name, values = {}) {
  return fill(current()[name], values);
}

/**
 * @param {keyof typeof ENGLISH_COUNTED} name
 * @param {number} count decides which plural form is used
 * @param {string} [shown] the count as it is shown
 * @returns {string}
 */
export function countedText(name, count, shown = String(count)) {
  return fill(pluralForm(current()[name], count), { count: shown });
}

/**
 * @param {Counted} counted
 * @param {number} count
 * @returns {string}
 */
export function pluralForm({ forms, starts }, count) {
  const number = count < 2 * PERIODIC ? count : PERIODIC + (count % PERIODIC);
  const [, index] = starts.filter(([start]) => start <= number).at(-1) ?? [0, 0];
  return forms[index] ?? "";
}

/** @returns {string | undefined} for `Intl`; undefined, which means the browser's language, if the
 *   page declares no valid one */
export function pageLanguage() {
  try {
    return Intl.getCanonicalLocales(current().language || document.documentElement.lang)[0];
  } catch {
    return undefined;
  }
}

/**
 * @param {string} pattern with placeholders such as `%(count)s`
 * @param {Record<string, string>} values
 * @returns {string}
 */
function fill(pattern, values) {
  return pattern.replace(/%\((\w+)\)s/g, (placeholder, name) => values[name] ?? placeholder);
}
