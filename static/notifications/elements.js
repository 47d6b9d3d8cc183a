/**
 * Small helpers for the DOM. They never parse text as HTML.
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

/** Attributes of the elements that name the user of the page. */
const NAMING = ["data-notifications-socket", "data-notifications-user"];

/**
 * Marks an element whose controller is running. The server does not send this attribute, so a
 * library that morphs the page into the server's HTML removes it.
 */
const RUNNING = "data-notifications-running";

/**
 * Defines a custom element that has a running controller while it is in the page.
 *
 * A library may move the element, swap the page around it, restore a cached copy of it, or morph
 * it. A restored or morphed element gets a new controller; a moved one keeps its controller.
 *
 * @param {string} name
 * @param {(element: HTMLElement) => Controller} control
 * @param {() => void} changed called when the element is added, removed, or names another user
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

    /** Waits for a microtask: children may still be missing, or the element is being moved. */
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
 * @throws {TypeError} no HTML element matches
 */
export function find(root, selector) {
  const found = root.querySelector(selector);
  if (found instanceof HTMLElement) return found;
  throw new TypeError(`there is no ${selector}`);
}
