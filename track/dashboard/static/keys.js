/** What the keyboard does. */
import { pick } from "./table.js";
import { set, state } from "./state.js";

export const KEYS = [
  ["/", "filter"], ["j k", "next, previous run"], ["x", "choose the run that is open"], ["c", "compare the chosen runs"], ["b", "the run that is open is the baseline, or no longer"], ["g", "charts"], ["p", "parameters"], ["o", "scatter"],
  ["l", "logarithmic y"], ["s", "more smoothing; S: none"], ["z", "all of x again"], ["v", "table, charts or both"], ["d", "dark or light"],
  ["Esc", "close, then choose nothing"], ["?", "these keys"],
];

/** Show the table, the charts, or both. */
export function nextView() {
  set({ view: { both: "charts", charts: "table", table: "both" }[state.view] ?? "both" });
}

/** @param {() => void} help @param {() => any} rows @param {() => boolean} shut closes what lies above all, if there is any */
export function listenToKeys(help, rows, shut) {
  /** @param {number} by */
  const move = (by) => {
    const all = (rows() ?? []).flatMap((setting) => setting.runs);
    if (!all.length) return;
    const at = all.findIndex((run) => run.id === state.open);
    const next = all[Math.min(all.length - 1, Math.max(0, at < 0 ? 0 : at + by))];
    set({ open: next.id, tab: "run" });
  };
  const does = {
    "/": () => document.getElementById("filter")?.focus(),
    "?": help,
    j: () => move(1),
    k: () => move(-1),
    x: () => state.open && pick([state.open], state.sel.includes(state.open)),
    c: () => set({ tab: "compare" }, true),
    b: () => state.open && set({ base: state.base === state.open ? "" : state.open }),
    ...Object.fromEntries([["p", "parameters"], ["o", "scatter"], ["g", "charts"]].map(([key, tab]) => [key, () => set({ tab }, true)])),
    l: () => set({ logy: !state.logy }),
    s: () => set({ smooth: state.smooth < 0.5 ? 0.6 : state.smooth < 0.85 ? 0.9 : 0.97 }),
    S: () => set({ smooth: 0 }),
    z: () => set({ zoom: [] }, true),
    v: nextView,
    d: () => set({ theme: document.documentElement.dataset.theme === "dark" ? "light" : "dark" }),
    Escape: () => shut() || (state.tab === "charts" ? set({ sel: [], only: "" }) : set({ tab: "charts" }, true)),
  };
  addEventListener("keydown", (event) => {
    const at = /** @type {HTMLElement} */ (event.target);
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (at.matches("input:not([type=checkbox]):not([type=range]), select, textarea")) return event.key === "Escape" && at.blur();
    const run = Object.hasOwn(does, event.key) ? does[event.key] : null;
    if (!run) return;
    event.preventDefault();
    run();
  });
}
