/** What is seen, and the link that says it: everything here is in the address after `#`. */

/** What a link that says nothing means. */
const DEFAULTS = {
  project: "", // only runs of this project
  q: "", // words that name, tags, status or parameters contain
  sel: [], // chosen runs; none: all are drawn
  brush: [], // parts of axes of parallel coordinates: only runs inside
  target: "", // the metric that parameters are for
  tab: "charts", // what the right side shows: charts, parameters, scatter, run, compare
  open: "", // the run whose page is open
  x: "step",
  logx: false,
  logy: false,
  smooth: 0,
  zoom: [], // the range of x; none: all of it
  only: "", // the one chart that is shown large
  sort: "-started",
  opened: [], // rows whose seeds are shown
  equal: false, // a comparison shows what is equal, too
  apart: false, // seeds are shown apart, not as one line with a band
  band: "std",
  all: false, // columns that do not differ, too
  parts: ["last", "min", "max"], // what is shown of a metric
  show: [], // columns that are shown beside the usual ones
  hide: [], // usual ones that are not
  pin: [], // those that stay in sight
  base: "", // the run to which the others are compared
  sx: "", // the columns of the scatter
  sy: "",
  split: 48, // how much of the width the table has
  view: "both", // both, table, charts
  theme: "",
};

/** @typedef {typeof DEFAULTS} State */

export const state = { ...DEFAULTS };
let listener = () => {};

/** Read the state from a link. @param {string} hash @returns {State} */
export function parse(hash) {
  const said = new URLSearchParams(hash.replace(/^#/, ""));
  const found = structuredClone(DEFAULTS);
  for (const [name, usual] of Object.entries(DEFAULTS)) {
    const text = said.get(name);
    if (text === null) continue;
    if (Array.isArray(usual)) {
      const parts = text.split(",").filter(Boolean);
      found[name] = name === "zoom" ? parts.map(Number).filter(Number.isFinite) : parts;
    } else if (typeof usual === "boolean") found[name] = text === "1";
    else if (typeof usual === "number") found[name] = Number.isFinite(Number(text)) ? Number(text) : usual;
    else found[name] = text;
  }
  if (found.zoom.length !== 2 || !(found.zoom[0] < found.zoom[1])) found.zoom = [];
  found.parts = found.parts.filter((part) => DEFAULTS.parts.includes(part));
  if (!found.parts.length) found.parts = DEFAULTS.parts;
  found.split = Math.min(85, Math.max(15, found.split));
  found.smooth = Math.min(0.999, Math.max(0, found.smooth));
  return found;
}

/** The link of a state. @param {State} of */
export function link(of) {
  const said = new URLSearchParams();
  for (const [name, usual] of Object.entries(DEFAULTS)) {
    const value = of[name];
    if (String(value) === String(usual)) continue;
    said.set(name, typeof value === "boolean" ? "1" : String(value));
  }
  const text = said.toString().replaceAll("%2C", ",").replaceAll("%7E", "~");
  return text ? `#${text}` : "#";
}

/** Change what is seen. `step`: the back button returns from it. @param {Partial<State>} change @param {boolean} [step] */
export function set(change, step = false) {
  Object.assign(state, change);
  const to = link(state);
  try {
    if (to !== (location.hash || "#")) history[step ? "pushState" : "replaceState"](null, "", to);
  } catch { /* Inside of a notebook a page has no address of its own. */ }
  listener();
}

/** Be told of each change. @param {() => void} told */
export const listen = (told) => (listener = told);

/** Take over what the address says. */
export function follow() {
  Object.assign(state, parse(location.hash));
  listener();
}
