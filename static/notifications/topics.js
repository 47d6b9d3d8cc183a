/**
 * The list of topics. It shows which ones the user follows, including changes by other devices.
 *
 * @import { Change, Notifications } from "./notifications.js"
 */
import { find } from "./elements.js";
import { Debounced } from "./debounced.js";
import { text } from "./texts.js";

const TOPIC = "topic:";

export class Topics {
  #element;
  #notifications;
  #refresher = new Debounced(() => this.#refresh());

  /**
   * @param {HTMLElement} element
   * @param {Notifications} notifications
   */
  constructor(element, notifications) {
    this.#element = element;
    this.#notifications = notifications;
  }

  start() {
    this.#notifications.on("change", this.#changed);
    // The page may have been rendered or cached before changes that are not sent again.
    if (this.#notifications.state === "connected") this.#refresher.schedule();
  }

  stop() {
    this.#notifications.off("change", this.#changed);
    this.#refresher.cancel();
  }

  get #rows() {
    return find(this.#element, "[data-part=rows]");
  }

  /** @param {Change} change */
  #changed = ({ type, channel }) => {
    if (type === "sync") {
      this.#refresher.schedule();
    } else if (channel && (type === "join" || type === "leave")) {
      this.#follow(channel, type === "join");
      const topic = channel.slice(TOPIC.length);
      this.#say(type === "join" ? text("joined", { topic }) : text("left", { topic }));
    }
  };

  async #refresh() {
    const followed = new Set((await this.#notifications.topics()).map(({ channel }) => channel));
    for (const row of this.#all()) {
      this.#follow(row.dataset.channel ?? "", followed.has(row.dataset.channel ?? ""));
    }
    for (const channel of followed) this.#follow(channel, true);
  }

  /**
   * @param {string} channel
   * @param {boolean} isFollowed
   */
  #follow(channel, isFollowed) {
    const known = this.#all().find((row) => row.dataset.channel === channel);
    if (known && "followed" in known.dataset === isFollowed) return;
    if (!known && !isFollowed) return;
    const row = known ?? this.#make(channel);
    const hadFocus = row.contains(document.activeElement);
    row.toggleAttribute("data-followed", isFollowed);
    const state = find(row, "[data-part=followed]");
    // Replaces the state that the server has rendered, which may be outdated.
    if (isFollowed) state.textContent = text("following");
    state.hidden = !isFollowed;
    const leave = find(row, "[data-notification-action=leave]");
    const join = find(row, "[data-notification-action=join]");
    leave.hidden = !isFollowed;
    join.hidden = isFollowed;
    if (hadFocus) (isFollowed ? leave : join).focus();
  }

  /**
   * @param {string} channel
   * @returns {HTMLElement} a new row, inserted in the order of channels
   */
  #make(channel) {
    const template = /** @type {HTMLTemplateElement} */ (find(this.#element, "template"));
    const copy = /** @type {DocumentFragment} */ (document.importNode(template.content, true));
    const row = find(copy, "[data-channel]");
    const name = channel.slice(TOPIC.length);
    row.dataset.channel = channel;
    find(row, "[data-part=name]").textContent = name;
    for (const button of row.querySelectorAll("button")) {
      button.value = channel;
      const action = button.textContent?.trim() ?? "";
      button.setAttribute("aria-label", text("action", { action, title: name }));
    }
    const after = this.#all().find((other) => (other.dataset.channel ?? "") > channel);
    this.#rows.insertBefore(row, after ?? null);
    find(this.#element, "[data-part=empty]").hidden = true;
    return row;
  }

  /** @param {string} words */
  #say(words) {
    find(this.#element, "[data-part=said]").textContent = words;
  }

  /** @returns {HTMLElement[]} */
  #all() {
    return /** @type {HTMLElement[]} */ ([...this.#rows.children]);
  }
}
