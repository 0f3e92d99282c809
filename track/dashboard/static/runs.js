/** The runs, which columns they have, and which of them are one setting with several seeds. */

import { now } from "./api.js";
import { Column } from "./columns.js";

/** @typedef {{key: string, runs: Run[], id: string, colour: number}} Setting */
/** @typedef {import("./columns.js").Section} Section */

/** How many colours there are. */
export const COLOURS = 24;

/** A run: what is known of every one, and its place in the columns. */
export class Run {
  uid = ""; name = ""; status = ""; id = ""; revision = 0; colour = 0; row = 0; mark = 0;
  /** What is not known is null: texts, and unix seconds. */
  project = null; group = null; error = null; parent = null; code = null; created = null; started = null; finished = null;

  /** @param {number} row @param {number} mark another one where something has changed */
  constructor(row, mark) {
    [this.row, this.mark] = [row, mark];
  }

  get parameters() { return values(this, "parameters"); }

  get tags() { return values(this, "tags"); }
}

/** What a run has, by name: names like `__proto__` are names. @param {Run} run @param {Section} section */
function values(run, section) {
  const found = Object.create(null);
  for (const column of columnsById.values()) {
    if (column.of !== section) continue;
    const value = column.at(run.row);
    if (value !== undefined) found[column.name] = value;
  }
  return found;
}

const seeds = () => [...columnsById.values()].filter((column) => column.seed);

/** What tells a run from the others of its setting. @param {Run} run */
export const seedOf = (run) => seeds().filter((column) => column.at(run.row) !== undefined).map((column) => `${column.name} ${column.at(run.row)}`).join(" · ");

/** The columns of a section that runs have, in the order in which they came. @param {Run[]} runs @param {Section} section
 * @param {string} [part] */
export const having = (runs, section, part = "") => [...columnsById.values()].filter((column) => column.of === section && column.part === part && column.some(runs));

/** A column. @param {Section} section @param {string} name @param {string} [part] */
export const column = (section, name, part = "") => columnsById.get([section, name, part].join("\n"));

/** What a run has there. @param {Run} run @param {Section} section @param {string} name @param {string} [part] */
export const value = (run, section, name, part = "") => column(section, name, part)?.at(run.row);

/** @type {Map<string, Run>} by uid */
const known = new Map();
/** @type {Map<string, Column>} */ let columnsById = new Map();
let rows = 0;
let changes = 0;
/** @type {Run[]} oldest first */
export let list = [];
/** @type {Map<string, number>} the colours of settings with several seeds, by their keys */
const lead = new Map();
/** @type {Map<string, Run>} by the short name that links have */
export const byId = new Map();

/** Take over what the server said. @param {import("./columns.js").Said} said */
export function take(said) {
  changes += 1;
  if (said.all) {
    known.clear();
    columnsById = new Map(said.columns.map((column) => [column.id, column]));
    rows = 0;
  }
  for (const uid of said.gone) known.delete(uid);
  const facts = said.columns.filter((column) => column.of === "run");
  const uids = facts.find((column) => column.name === "uid");
  /** @type {Run[]} */ const taken = [];
  for (let i = 0; i < said.rows; i += 1) {
    const uid = uids?.at(i);
    const run = new Run(known.get(uid)?.row ?? rows++, changes);
    for (const fact of facts) run[fact.name] = fact.at(i) ?? null;
    // What cannot be seen is no name.
    if (!run.name?.trim()) run.name = "";
    known.set(uid, run);
    taken.push(run);
  }
  if (!said.all) merge(taken, said.columns.filter((column) => column.of !== "run"));
  list = [...known.values()].sort((a, b) => (a.created ?? 0) - (b.created ?? 0) || (a.uid < b.uid ? -1 : 1));
  byId.clear();
  /** @type {number[]} */ const recent = [];
  for (const run of list) {
    run.colour = slot(run.uid, recent);
    const [digest, revision] = [run.uid.slice(0, run.uid.lastIndexOf("_")), run.uid.slice(run.uid.lastIndexOf("_"))];
    run.id = `${digest.slice(0, 8)}${revision}`;
    if (byId.has(run.id)) run.id = run.uid;
    byId.set(run.id, run);
  }
  // A setting is seen beside other settings, not beside its own seeds.
  lead.clear();
  recent.length = 0;
  for (const setting of settings(list, false)) {
    const colour = slot(setting.runs[0].uid, recent);
    if (setting.runs.length === 1) setting.runs[0].colour = colour;
    else lead.set(setting.key, colour);
  }
}

/** Put the cells of some runs into the columns of all. @param {Run[]} runs @param {Column[]} said */
function merge(runs, said) {
  for (const column of columnsById.values()) for (const run of runs) column.set(run.row, undefined);
  for (const one of said) {
    let column = columnsById.get(one.id);
    if (!column) {
      column = new Column(one.of, one.name, one.part, one.seed);
      if (one.numbers) column.numbers = new Float64Array(rows).fill(NaN);
      columnsById.set(one.id, column);
    }
    runs.forEach((run, i) => column.set(run.row, one.at(i)));
  }
}

/** The colour of a uid: the same in every view; another than those of the runs just before it.
 * @param {string} uid @param {number[]} recent */
function slot(uid, recent) {
  let sum = 2166136261;
  for (let i = 0; i < uid.length; i += 1) sum = Math.imul(sum ^ uid.charCodeAt(i), 16777619);
  let found = (sum >>> 0) % COLOURS;
  while (recent.includes(found)) found = (found + 5) % COLOURS;
  recent.push(found);
  if (recent.length > COLOURS / 2) recent.shift();
  return found;
}

/** Whether a run is alive, failed, ... @param {Run} run */
export function kind(run) {
  const of = { 1: "running", 2: "failed", 3: "done" }[Math.floor((run.code ?? 0) / 100)];
  return run.status === "interrupted" || run.status === "suspended" || run.status === "pruned" ? "paused" : of ?? "new";
}

/** Those that are shown. @param {{project: string}} state @param {Set<string> | null} found what the filter means */
export function visible(state, found) {
  return list.filter((run) => (!state.project || run.project === state.project) && (!found || found.has(run.uid)));
}

/** The runs by setting, in the order of their first: alike in all but seeds. @param {Run[]} runs @param {boolean} apart
 * @returns {Setting[]} */
export function settings(runs, apart) {
  const ofSeeds = apart ? [] : seeds();
  if (!ofSeeds.length) return runs.map((run) => ({ key: run.uid, runs: [run], id: run.id, colour: run.colour }));
  const others = [...columnsById.values()].filter((column) => column.of === "parameters" && !column.seed);
  /** @type {Map<string, Setting>} */ const found = new Map();
  for (const run of runs) {
    const seeded = ofSeeds.some((column) => column.at(run.row) !== undefined);
    const key = seeded ? JSON.stringify([run.name, run.project, run.group, others.map((column) => column.at(run.row))]) : run.uid;
    const there = found.get(key);
    if (there) there.runs.push(run);
    else found.set(key, { key, runs: [run], id: run.id, colour: run.colour });
  }
  for (const setting of found.values())
    if (setting.runs.length > 1) setting.colour = lead.get(setting.key) ?? setting.colour;
  return [...found.values()];
}

/** A column that is shown: where it comes from, and what it is of a run.
 * @typedef {{id: string, head: string, sub: string, of: (run: Run) => any, kind: string, from: Column | null, pin?: number}} Shown */

/** The columns after name, status and time: what differs, then metrics. @param {Run[]} runs @param {boolean} all
 * @param {boolean} apart @param {string[]} parts what is shown of a metric @returns {Shown[]} */
export function columns(runs, all, apart, parts) {
  /** @type {Shown[]} */ const found = [];
  if (runs.some((run) => run.group !== runs[0].group))
    found.push({ id: "group", head: "group", sub: "", of: (run) => run.group, kind: "text", from: null });
  for (const section of /** @type {Section[]} */ (["parameters", "tags"])) {
    for (const from of having(runs, section)) {
      if (!apart && !all && from.seed) continue;
      if (all || runs.length < 2 || from.differs(runs))
        found.push({ id: `${section}.${from.name}`, head: from.name, sub: section === "tags" ? "tag" : "", of: (run) => from.at(run.row), kind: "value", from });
    }
  }
  for (const { name } of having(runs, "metrics", "count").filter((one) => all || !isSystem(one.name))) {
    const one = isOne(runs, name);
    for (const part of ["last", "min", "max"]) {
      const from = column("metrics", name, part);
      if (!from || (one ? part !== "last" : !parts.includes(part))) continue;
      found.push({ id: `metrics.${name}.${part}`, head: name, sub: one ? "" : part, of: (run) => from.at(run.row), kind: "metric", from });
    }
  }
  return found;
}

/** Whether no run has more than a point of a metric. @param {Run[]} runs @param {string} name */
export function isOne(runs, name) {
  const count = column("metrics", name, "count");
  return !count || !(count.range(runs)[1] > 1);
}

/** Whether a metric is of the machine, and not of what is trained. @param {string} name */
export const isSystem = (name) => name.startsWith("system/");

/** Those of the machine come last. @param {Run[]} runs @param {"parameters" | "tags" | "metrics"} section */
export const names = (runs, section) => having(runs, section, section === "metrics" ? "count" : "").map((column) => column.name).sort((one, other) => Number(isSystem(one)) - Number(isSystem(other)));

/** What tells a setting from the others, in a line. @param {Setting} setting @param {string[]} different */
export function detail({ runs }, different) {
  return different.flatMap((name) => {
    const from = column("parameters", name);
    const said = from?.at(runs[0].row);
    return !from || said === undefined || from.differs(runs) ? [] : [`${name} ${said}`];
  }).slice(0, 6).join(" · ");
}

/** Settings in another order: of several runs by their mean. Numbers come before texts, what is missing or NaN last.
 * @param {Setting[]} of @param {string} sort @param {Shown[]} cols */
export function sorted(of, sort, cols) {
  const sign = sort.startsWith("-") ? -1 : 1;
  const id = sort.replace(/^-/, "");
  const shown = cols.find((one) => one.id === id);
  const value = shown ? shown.of : (/** @type {Run} */ run) =>
    id === "name" ? run.name : id === "status" ? run.status : id === "seconds" ? seconds(run) : run.started ?? run.created;
  const numbers = new Float64Array(of.length);
  const kinds = new Uint8Array(of.length);
  /** @type {string[]} */ const texts = [];
  of.forEach(({ runs }, i) => {
    const key = runs.length > 1 ? central(runs.map(value)) : value(runs[0]);
    if (typeof key === "number") [kinds[i], numbers[i]] = [key === key ? 0 : 2, key];
    else if (key === "Infinity" || key === "-Infinity") numbers[i] = Number(key);
    else if (key === null || key === undefined || key === "NaN") kinds[i] = 2;
    else [kinds[i], texts[i]] = [1, String(key)];
  });
  const order = Uint32Array.from(of, (_, i) => i).sort((a, b) => kinds[a] - kinds[b] || sign * (kinds[a] === 0
    ? numbers[a] - numbers[b] : kinds[a] === 1 ? (texts[a] < texts[b] ? -1 : texts[a] > texts[b] ? 1 : 0) : 0) || a - b);
  return Array.from(order, (i) => of[i]);
}

/** The mean of numbers, else the first value. @param {any[]} values */
export function central(values) {
  const numbers = values.filter((value) => typeof value === "number");
  return values.length > 1 && numbers.length ? numbers.reduce((sum, one) => sum + one, 0) / numbers.length : values[0];
}

/** How long it took, or has taken. @param {Run} run */
export function seconds(run) {
  if (!run.started) return undefined;
  return (run.finished && kind(run) !== "running" ? run.finished : kind(run) === "running" ? now() : NaN) - run.started;
}
