/** What the keyboard does. */
import { pick } from "./table.js";
import { set, state } from "./state.js";

/** @typedef {{help: () => void, rows: () => any[], shut: () => boolean}} Page `shut` closes what lies above all, if there is any */

/** What can be done, and by which keys. @type {[string, Record<string, (page: Page) => any>][]} */
export const KEYS = [
  ["filter", { "/": () => document.getElementById("filter")?.focus() }],
  ["next, previous run", { j: (page) => move(page, 1), k: (page) => move(page, -1) }],
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
  ["close, then choose nothing", { Escape: ({ shut }) => shut() || (state.tab === "charts" ? set({ sel: [], only: "" }) : set({ tab: "charts" }, true)) }],
  ["these keys", { "?": ({ help }) => help() }],
];

/** Show the table, the charts, or both. */
export function nextView() {
  set({ view: { both: "charts", charts: "table", table: "both" }[state.view] ?? "both" });
}

/** Open another run. @param {Page} page @param {number} by */
function move({ rows }, by) {
  const all = rows().flatMap((setting) => setting.runs);
  if (!all.length) return;
  const at = all.findIndex((run) => run.id === state.open);
  set({ open: all[Math.min(all.length - 1, Math.max(0, at < 0 ? 0 : at + by))].id, tab: "run" });
}

/** @param {Page} page */
export function listenToKeys(page) {
  const does = new Map(KEYS.flatMap(([, keys]) => Object.entries(keys)));
  addEventListener("keydown", (event) => {
    const at = /** @type {HTMLElement} */ (event.target);
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (at.matches("input:not([type=checkbox]):not([type=range]), select, textarea")) return event.key === "Escape" && at.blur();
    if (!does.has(event.key)) return;
    event.preventDefault();
    does.get(event.key)(page);
  });
}
