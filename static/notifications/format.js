/**
 * Formats numbers, times and links for display.
 *
 * @import { Level } from "./protocol.js"
 */

const LEVELS = ["debug", "info", "success", "warning", "error"];

/** @type {[Intl.RelativeTimeFormatUnit, number][]} */
const UNITS = [
  ["year", 31_536_000],
  ["month", 2_592_000],
  ["week", 604_800],
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60],
];

/** Digits in all languages are those that Django writes, so that a page does not mix two kinds. */
const DIGITS = { numberingSystem: "latn" };

/**
 * @param {unknown} value
 * @returns {Level} the value if it is a level, else "info"
 */
export function toLevel(value) {
  return /** @type {Level} */ (LEVELS.find((level) => level === value) ?? "info");
}

/**
 * @param {number} count
 * @returns {string} short enough for a badge
 */
export function formatCount(count) {
  return count > 99 ? "99+" : String(count);
}

/**
 * Parses an integer in an attribute: ASCII digits only, in every language.
 *
 * @param {string | undefined} text
 * @returns {number | undefined} undefined for anything but an integer from 0 to 2⁵³ - 1
 */
export function toInteger(text) {
  const number = /^[0-9]+$/.test(text ?? "") ? Number(text) : NaN;
  return Number.isSafeInteger(number) ? number : undefined;
}

/**
 * @param {Date} moment
 * @param {number} now milliseconds since the epoch
 * @param {string} [language]
 * @returns {string} such as "5 minutes ago"; never in the future, even if this device's clock is
 *   slow; "" for an invalid date
 */
export function relativeTime(moment, now, language) {
  const seconds = Math.min(0, (moment.getTime() - now) / 1000);
  if (Number.isNaN(seconds)) return "";
  const format = new Intl.RelativeTimeFormat(language, { numeric: "auto", ...DIGITS });
  const unit = UNITS.find(([, size]) => -seconds >= size);
  return unit ? format.format(Math.ceil(seconds / unit[1]), unit[0]) : format.format(0, "second");
}

/**
 * @param {Date} moment
 * @param {string} [language]
 * @returns {string} date and time
 */
export function absoluteTime(moment, language) {
  return moment.toLocaleString(language, DIGITS);
}

/**
 * Checks a URL by the same rule as the server: it must be a path, a relative reference or an
 * http(s) URL.
 *
 * @param {unknown} url
 * @returns {string} the URL, or "" if it is none of these
 */
export function safeLink(url) {
  if (typeof url !== "string" || !url || url !== url.trim()) return "";
  // Browsers drop control characters inside a scheme and read "\" as "/".
  if (/[\u0000-\u001f\u007f\\]/.test(url) || url.startsWith("//")) return "";
  const scheme = /^[a-z][a-z0-9+.-]*:/i.exec(url)?.[0].toLowerCase();
  if (scheme === undefined) return url;
  return /^https?:\/\/[^/?#]/i.test(url) ? url : "";
}
