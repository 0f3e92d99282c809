/** What is seen, and the link that says it: everything here is in the address after `#`, and nowhere else. */

/** What a link that says nothing means. */
const DEFAULTS = {
  project: "", // only runs of this project
  q: "", // words that name, tags, status or parameters contain
  sel: [], // chosen runs; none: all are drawn
  brush: [], // parts of axes of parallel coordinates, `id~low~high`: only runs inside
  target: "", // the metric that parameters are for
  tab: "charts", // what the right side shows
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
  above: "", // what lies above the page
  words: "", // what names of columns contain that can be chosen
  folds: [], // parts that are folded though they usually are not, and the other way
  steps: [], // where media are looked at, `name~step`; else at their last step
  seen: [], // files of a run that are looked at
  split: 48, // how much of the width the table has
  row: 0, // how far the table is scrolled: the first row in sight,
  across: 0, // and how many pixels of its columns are out of it
  down: 0, // and of the right side
  view: "both",
  theme: "", // as the system has it
};

/** What else some of them can be; along x also `metric:NAME`. */
const CHOICES = {
  tab: ["charts", "parameters", "scatter", "run", "compare"], x: ["step", "offset", "relative", "time", "wall"],
  band: ["std", "stderr", "ci", "range"], above: ["", "columns", "keys"], view: ["both", "table", "charts"], theme: ["", "light", "dark"],
};

/** @typedef {typeof DEFAULTS} State */

export const state = { ...DEFAULTS };
let listener = () => {};

/** A piece of a list, which a link may have from anywhere. @param {string} code */
const decoded = (code) => new URLSearchParams(`a=${code}`).get("a");

/** Read the state from a link. @param {string} hash @returns {State} */
export function parse(hash) {
  const said = new URLSearchParams(hash.replace(/^#/, ""));
  const found = structuredClone(DEFAULTS);
  for (const [name, usual] of Object.entries(DEFAULTS)) {
    const text = said.get(name);
    if (text === null) continue;
    if (Array.isArray(usual)) found[name] = text.split(",").filter(Boolean).map(decoded);
    else if (typeof usual === "boolean") found[name] = text === "1";
    else if (typeof usual === "number") found[name] = text.trim() && Number.isFinite(Number(text)) ? Number(text) : usual;
    else if (!(name in CHOICES) || CHOICES[name].includes(text) || (name === "x" && text.startsWith("metric:"))) found[name] = text;
  }
  found.zoom = found.zoom.map(Number);
  if (found.zoom.length !== 2 || !found.zoom.every(Number.isFinite) || !(found.zoom[0] < found.zoom[1])) found.zoom = [];
  found.parts = DEFAULTS.parts.filter((part) => found.parts.includes(part));
  if (!found.parts.length) found.parts = DEFAULTS.parts;
  found.brush = found.brush.filter((one) => numbered(one, 2).slice(1).every(Number.isFinite));
  found.split = Math.min(85, Math.max(15, found.split));
  found.smooth = Math.min(0.999, Math.max(0, found.smooth));
  return found;
}

/** The link of a state. @param {State} of */
export function link(of) {
  const said = new URLSearchParams();
  for (const [name, usual] of Object.entries(DEFAULTS)) {
    const value = of[name];
    if (String(value) !== String(usual)) said.set(name, typeof value === "boolean" ? "1" : Array.isArray(value) ? value.map(encodeURIComponent).join(",") : String(value));
  }
  return `#${said.toString().replaceAll("%2C", ",").replaceAll("%7E", "~")}`;
}

/** Change what is seen. `step`: the back button returns from it. @param {Partial<State>} change @param {boolean} [step] */
export function set(change, step = false) {
  note(change, step);
  listener();
}

/** Browsers take some hundred addresses a minute, and drop others: how many may be written at once, since when, and what waits. */
const [MOST, EVERY] = [40, 250];
let [spent, since, waiting] = [0, 0, 0];

/** Say in the link what is seen already. @param {Partial<State>} [change] @param {boolean} [step] */
function note(change = {}, step = false) {
  Object.assign(state, change);
  spent = Math.max(0, spent - (performance.now() - since) / EVERY);
  since = performance.now();
  clearTimeout(waiting);
  if (spent > MOST && !step) return (waiting = setTimeout(note, EVERY));
  const to = link(state);
  if (to === (location.hash || "#")) return;
  spent += 1;
  try {
    history[step ? "pushState" : "replaceState"](null, "", to);
  } catch { /* Inside of a notebook a page has no address of its own. */ }
}

/** A list with something in it, or no longer. @param {string[]} list @param {string} one */
export const flipped = (list, one) => (list.includes(one) ? list.filter((other) => other !== one) : [...list, one]);

/** A name with numbers, as lists have them. @param {string} one @param {number} count @returns {[string, ...number[]]} */
export function numbered(one, count) {
  const parts = one.split("~");
  return [parts.slice(0, -count).join("~"), ...parts.slice(-count).map(Number)];
}

/** A list with other numbers of a name; with none, without it. @param {string[]} list @param {number} count
 * @param {string} name @param {(number | string)[]} numbers */
export const renumbered = (list, count, name, numbers) =>
  [...list.filter((one) => numbered(one, count)[0] !== name), ...(numbers.length ? [[name, ...numbers].join("~")] : [])];

/** Be told of each change. @param {() => void} told */
export const listen = (told) => (listener = told);

/** Until when parts of the page are scrolled to where a link says, as they come; or until somebody moves. */
let settling = 0;
/** @type {Map<string, () => void>} */ const parts = new Map();
for (const act of ["wheel", "pointerdown", "keydown", "touchmove"]) addEventListener(act, () => (settling = 0), { capture: true, passive: true });

function settle() {
  if (performance.now() > settling) return;
  for (const move of parts.values()) move();
  requestAnimationFrame(settle);
}

/** Keep in the link how far a part is scrolled. @param {HTMLElement} part @param {["row" | "across" | "down", "scrollTop" | "scrollLeft", number][]} fields name, side, and pixels that are one */
export function keepScrolled(part, fields) {
  let timer = 0;
  const move = () => fields.forEach(([name, side, by]) => Math.abs(part[side] / by - state[name]) >= 1 && (part[side] = state[name] * by));
  parts.set(fields[0][0], move);
  move();
  part.addEventListener("scroll", () => {
    clearTimeout(timer);
    timer = setTimeout(() => performance.now() > settling && note(Object.fromEntries(fields.map(([name, side, by]) => [name, Math.round(part[side] / by)]))), 150);
  });
}

/** Show the table, the charts, or both. */
export const nextView = () => set({ view: { both: "charts", charts: "table", table: "both" }[state.view] });

/** Take over what the address says. */
export function follow() {
  Object.assign(state, parse(location.hash));
  listener();
  settling = state.row || state.across || state.down ? performance.now() + 10_000 : 0;
  settle();
}
