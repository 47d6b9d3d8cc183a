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

/**
 * Defines a custom element that is run by a controller while it is in the page.
 *
 * @param {string} name
 * @param {(element: HTMLElement) => Controller} control
 */
export function defineElement(name, control) {
  class ControlledElement extends HTMLElement {
    /** @type {Controller | null} */
    #controller = null;

    connectedCallback() {
      this.#controller = control(this);
      this.#controller.start();
    }

    disconnectedCallback() {
      this.#controller?.stop();
      this.#controller = null;
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
