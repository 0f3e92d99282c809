/** What the keyboard does. */
import { pick } from "./table.js";
import { nextView, set, state } from "./state.js";
import { html } from "./view.js";

/** What can be done, and by which keys; `rows` are those of the table. @type {[string, Record<string, (rows: any[]) => any>][]} */
export const KEYS = [
  ["filter", { "/": () => document.getElementById("filter")?.focus() }],
  ["next, previous run", { j: (rows) => move(rows, 1), k: (rows) => move(rows, -1) }],
  ["choose the run that is open", { x: () => state.open && pick([state.open], state.sel.includes(state.open)) }],
  ["compare the chosen runs", { c: () => set({ tab: "compare" }, true) }],
  ["the run that is open is the baseline, or no longer", { b: () => state.open && set({ base: state.base === state.open ? "" : state.open }) }],
  ["charts", { g: () => set({ tab: "charts" }, true) }],
  ["parameters", { p: () => set({ tab: "parameters" }, true) }],
  ["scatter", { o: () => set({ tab: "scatter" }, true) }],
  ["logarithmic y", { l: () => set({ logy: !state.logy }) }],
  ["more smoothing, none", { s: () => set({ smooth: state.smooth < 0.5 ? 0.6 : state.smooth < 0.85 ? 0.9 : 0.97 }), S: () => set({ smooth: 0 }) }],
  ["all of x again", { z: () => set({ zoom: [] }, true) }],
  ["table, charts or both", { v: nextView }],
  ["dark or light", { d: () => set({ theme: document.documentElement.dataset.theme === "dark" ? "light" : "dark" }) }],
  ["close, then choose nothing", { Escape: () => state.above ? set({ above: "" }) : (state.tab === "charts" ? set({ sel: [], only: "" }) : set({ tab: "charts" }, true)) }],
  ["these keys", { "?": () => set({ above: state.above === "keys" ? "" : "keys" }) }],
];

/** Open another run. @param {any[]} rows @param {number} by */
function move(rows, by) {
  const all = rows.flatMap((setting) => setting.runs);
  if (!all.length) return;
  const at = all.findIndex((run) => run.id === state.open);
  set({ open: all[Math.min(all.length - 1, Math.max(0, at < 0 ? 0 : at + by))].id, tab: "run" });
}

/** These keys, for people. */
export const Help = () => html`<dialog open aria-label="keys"><h2>Keys</h2><dl>${KEYS.map(([does, keys]) =>
  html`<div key=${does}><dt><kbd>${Object.keys(keys).join(" ")}</kbd></dt><dd>${does}</dd></div>`)}</dl></dialog>`;

const does = new Map(KEYS.flatMap(([, keys]) => Object.entries(keys)));

/** Do what a key means. @param {KeyboardEvent} event @param {any[]} rows */
export function press(event, rows) {
  const at = /** @type {HTMLElement} */ (event.target);
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (at.matches("input:not([type=checkbox]):not([type=range]), select, textarea")) return event.key === "Escape" && at.blur();
  if (!does.has(event.key)) return;
  event.preventDefault();
  does.get(event.key)(rows);
}
