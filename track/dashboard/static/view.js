/** The vendored view library, with what it leaves out. */
export { Component, html, render } from "./vendor/htm-preact.js";

/** A place for an element. */
export const createRef = () => ({ current: /** @type {any} */ (null) });
