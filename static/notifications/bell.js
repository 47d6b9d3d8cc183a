/**
 * The bell: a button with a badge that opens a panel with the newest notifications.
 *
 * @import { Notifications } from "./notifications.js"
 */
import { reasons } from "./events.js";
import { find, make } from "./elements.js";
import { formatCount } from "./format.js";
import { List } from "./list.js";
import { countedText, text } from "./texts.js";

/** Milliseconds: shorter interruptions of the connection are not shown. */
const OFFLINE_DELAY_MS = 1000;

export class Bell {
  #element;
  #notifications;
  #panel;
  #badge;
  #list;
  #button;
  #stateTimer = 0;
  #state = "";

  /**
   * @param {HTMLElement} element contains the panel, and a link to the inbox that is replaced by a
   *   button. A cached copy of an element that was started before contains the button already.
   * @param {Notifications} notifications
   */
  constructor(element, notifications) {
    this.#element = element;
    this.#notifications = notifications;
    this.#button = toButton(find(element, ".notification-bell__button"));
    this.#badge = find(element, "[data-part=badge]");
    this.#panel = find(element, "[role=dialog]");
    this.#list = new List(find(this.#panel, "[data-part=list]"), notifications);
  }

  start() {
    this.#button.setAttribute("aria-haspopup", "dialog");
    this.#button.setAttribute("aria-expanded", "false");
    this.#panel.hidden = true;
    this.#button.addEventListener("click", this.#toggle);
    this.#element.addEventListener("keydown", this.#onKeyDown);
    this.#element.addEventListener("focusout", this.#onFocusOut);
    document.addEventListener("pointerdown", this.#onPointerDown);
    this.#notifications.on("count", this.#show);
    this.#notifications.on("connecting", this.#connecting);
    this.#notifications.on("connected", this.#connected);
    this.#notifications.on("disconnected", this.#disconnected);
    this.#showCurrentState();
  }

  stop() {
    this.#close();
    clearTimeout(this.#stateTimer);
    this.#button.removeEventListener("click", this.#toggle);
    this.#element.removeEventListener("keydown", this.#onKeyDown);
    this.#element.removeEventListener("focusout", this.#onFocusOut);
    this.#notifications.off("count", this.#show);
    this.#notifications.off("connecting", this.#connecting);
    this.#notifications.off("connected", this.#connected);
    this.#notifications.off("disconnected", this.#disconnected);
    document.removeEventListener("pointerdown", this.#onPointerDown);
  }

  #showCurrentState() {
    this.#say("", "");
    if (this.#notifications.state === "connecting") this.#connecting();
  }

  get #isOpen() {
    return !this.#panel.hidden;
  }

  #toggle = () => {
    if (this.#isOpen) this.#close();
    else this.#open();
  };

  #open() {
    this.#panel.hidden = false;
    this.#button.setAttribute("aria-expanded", "true");
    this.#panel.focus();
    this.#list.start();
    // Without a connection the panel says so, and keeps its rows.
    this.#list.refreshNow();
  }

  #close() {
    if (!this.#isOpen) return;
    this.#list.stop();
    const hadFocus = this.#panel.contains(document.activeElement);
    this.#panel.hidden = true;
    this.#button.setAttribute("aria-expanded", "false");
    if (hadFocus) this.#button.focus();
  }

  /** @param {KeyboardEvent} event */
  #onKeyDown = (event) => {
    if (event.key !== "Escape" || !this.#isOpen) return;
    event.stopPropagation();
    this.#close();
  };

  /** @param {FocusEvent} event */
  #onFocusOut = (event) => {
    const next = event.relatedTarget;
    if (next instanceof Node && !this.#element.contains(next)) this.#close();
  };

  /** @param {PointerEvent} event */
  #onPointerDown = (event) => {
    // Not contains(): the click may have removed the row that was its target.
    if (!event.composedPath().includes(this.#element)) this.#close();
  };

  #connecting = () => {
    clearTimeout(this.#stateTimer);
    this.#stateTimer = setTimeout(() => this.#say(text("offline"), "offline"), OFFLINE_DELAY_MS);
  };

  #connected = () => {
    clearTimeout(this.#stateTimer);
    this.#say("", "");
  };

  /** @param {{code: number, reason: string}} reason */
  #disconnected = ({ code, reason }) => {
    clearTimeout(this.#stateTimer);
    if (reason === reasons.disconnectCalled.reason) return;
    this.#say(text(code === reasons.unauthorized.code ? "signed_out" : "ended"), "ended");
  };

  /**
   * @param {string} words
   * @param {"" | "offline" | "ended"} state
   */
  #say(words, state) {
    this.#state = words;
    this.#element.dataset.state = state;
    const line = find(this.#panel, "[data-part=state]");
    line.textContent = words;
    line.hidden = !words;
    this.#show();
  }

  #show = () => {
    const unread = this.#notifications.unreadCount;
    this.#badge.textContent = unread > 0 ? formatCount(unread) : "";
    this.#badge.hidden = unread <= 0;
    const count = countedText("unread", unread, formatCount(unread));
    const label = unread > 0 ? count : text("none_unread");
    const state = this.#state;
    this.#button.setAttribute("aria-label", state ? text("state", { label, state }) : label);
    this.#button.title = state || text("notifications");
    find(this.#panel, "[data-notification-action=read_all]").hidden = unread <= 0;
  };
}

/**
 * @param {HTMLElement} found the link, or the button that has replaced it
 * @returns {HTMLButtonElement} the button, in the place of the link
 */
function toButton(found) {
  if (found instanceof HTMLButtonElement) return found;
  const button = make("button", { type: "button", class: found.className }, [...found.childNodes]);
  found.replaceWith(button);
  return button;
}
