/** The vendored view library, with what it leaves out. */
export { Component, h, html, render, useEffect, useRef, useState } from "./vendor/htm-preact.js";

/** A place for an element. */
export const createRef = () => ({ current: /** @type {any} */ (null) });
