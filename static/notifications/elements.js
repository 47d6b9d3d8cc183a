/**
 * Small helpers for the DOM. Text is only ever set as text.
 *
 * @typedef {{start: () => void, stop: () => void}} Controller
 */

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string>} [attributes]
 * @param {(Node | string)[]} [children] strings become text
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function make(tag, attributes = {}, children = []) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Attributes of whichever element names the user of the page. */
const NAMING = ["data-notifications-socket", "data-notifications-user"];

/**
 * Is set on an element that a controller runs. The server does not send it: a library that morphs
 * the page into what the server has sent takes it away.
 */
const RUNNING = "data-notifications-running";

/**
 * Defines a custom element that is run by a controller while it is in the page.
 *
 * A library may move it, swap the page under it, copy it to a cache and back, or morph it: its
 * controller is made anew where the old one cannot go on.
 *
 * @param {string} name
 * @param {(element: HTMLElement) => Controller} control
 * @param {() => void} changed the element came, went, or names somebody else
 */
export function defineElement(name, control, changed) {
  class ControlledElement extends HTMLElement {
    static observedAttributes = [RUNNING, ...NAMING];

    /** @type {Controller | null} */
    #controller = null;
    #isWaiting = false;

    connectedCallback() {
      this.#settleSoon();
    }

    disconnectedCallback() {
      this.#settleSoon();
    }

    attributeChangedCallback() {
      this.#settleSoon();
    }

    /** Whoever changes the page has not finished yet: children may be missing, or it is moved. */
    #settleSoon() {
      changed();
      if (this.#isWaiting) return;
      this.#isWaiting = true;
      queueMicrotask(() => {
        this.#isWaiting = false;
        this.#settle();
      });
    }

    #settle() {
      const isRunning = this.#controller !== null && this.hasAttribute(RUNNING);
      if (this.isConnected === isRunning) return;
      this.#controller?.stop();
      this.#controller = null;
      if (!this.isConnected) return;
      this.setAttribute(RUNNING, "");
      this.#controller = control(this);
      this.#controller.start();
    }
  }
  customElements.define(name, ControlledElement);
}

/**
 * @param {ParentNode} root
 * @param {string} selector
 * @returns {HTMLElement}
 * @throws {TypeError} there is none
 */
export function find(root, selector) {
  const found = root.querySelector(selector);
  if (found instanceof HTMLElement) return found;
  throw new TypeError(`there is no ${selector}`);
}
