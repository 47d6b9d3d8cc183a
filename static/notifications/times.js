import { absoluteTime, relativeTime } from "./format.js";
import { pageLanguage } from "./texts.js";

const INTERVAL_MS = 30_000;

/** Keeps the relative times of entries up to date while a page stays open. */
export class Times {
  #timer = 0;

  start() {
    this.#timer = setInterval(updateTimes, INTERVAL_MS);
    updateTimes();
  }

  stop() {
    clearInterval(this.#timer);
  }
}

/** @param {ParentNode} [root] */
export function updateTimes(root = document) {
  const language = pageLanguage();
  for (const element of root.querySelectorAll("time[data-notification-time]")) {
    if (!(element instanceof HTMLTimeElement)) continue;
    const moment = new Date(element.dateTime);
    element.textContent = relativeTime(moment, Date.now(), language);
    if (!element.title) element.title = absoluteTime(moment, language);
  }
}
