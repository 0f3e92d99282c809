/** The runs, which columns they have, and which of them are one setting with several seeds. */

/** @typedef {{uid: string, id: string, name: string, revision: number, project: string | null, group: string | null,
 *   status: string, code: number | null, created: number | null, started: number | null, finished: number | null,
 *   error: string | null, parent: any, tags: Record<string, any>, parameters: Record<string, any>, seeds: string[],
 *   metrics: Record<string, any[]>, colour: number}} Run */
/** @typedef {{key: string, runs: Run[], id: string, colour: number}} Setting */

/** How many colours there are. */
export const COLOURS = 24;

/** @type {Map<string, Run>} by uid */
const known = new Map();
/** @type {Run[]} oldest first */
export let list = [];
/** @type {Map<string, number>} the colours of settings with several seeds, by their keys */
const lead = new Map();
/** @type {Map<string, Run>} by the short name that links have */
export const byId = new Map();

/** Take over what the server said. @param {{all: boolean, runs: any[], gone: string[]}} said */
export function take(said) {
  if (said.all) known.clear();
  for (const uid of said.gone) known.delete(uid);
  for (const run of said.runs) known.set(run.uid, run);
  list = [...known.values()].sort((a, b) => (a.created ?? 0) - (b.created ?? 0) || (a.uid < b.uid ? -1 : 1));
  byId.clear();
  /** @type {number[]} */
  const recent = [];
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
  /** @type {Map<string, Setting>} */
  const found = new Map();
  for (const run of runs) {
    const key = !apart && run.seeds.length ? settingKey(run) : run.uid;
    const there = found.get(key);
    if (there) there.runs.push(run);
    else found.set(key, { key, runs: [run], id: run.id, colour: run.colour });
  }
  for (const setting of found.values())
    if (setting.runs.length > 1) setting.colour = lead.get(setting.key) ?? setting.colour;
  return [...found.values()];
}

/** What is alike in all seeds of a setting. @param {Run} run */
function settingKey(run) {
  const names = Object.keys(run.parameters).filter((name) => !run.seeds.includes(name)).sort();
  return JSON.stringify([run.name, run.project, run.group, names.map((name) => [name, run.parameters[name]])]);
}

/** A column: where it comes from, and what it is of a run.
 * @typedef {{id: string, head: string, sub: string, of: (run: Run) => any, kind: string}} Column */

const PARTS = /** @type {[string, number][]} */ ([["last", 0], ["min", 1], ["max", 2]]);

/** The columns after name, status and time: what differs, then metrics. @param {Run[]} runs @param {boolean} all
 * @param {boolean} apart @param {string[]} parts what is shown of a metric @returns {Column[]} */
export function columns(runs, all, apart, parts) {
  /** @type {Column[]} */
  const found = [];
  if (differs(runs.map((run) => run.group)))
    found.push({ id: "group", head: "group", sub: "", of: (run) => run.group, kind: "text" });
  for (const field of ["parameters", "tags"]) {
    for (const name of names(runs, field)) {
      const of = (run) => own(run[field], name);
      if (!apart && !all && field === "parameters" && runs.some((run) => run.seeds.includes(name))) continue;
      if (all || runs.length < 2 || differs(runs.map(of)))
        found.push({ id: `${field}.${name}`, head: name, sub: field === "tags" ? "tag" : "", of, kind: "value" });
    }
  }
  for (const name of names(runs, "metrics")) {
    const one = runs.every((run) => (own(run.metrics, name)?.[3] ?? 0) < 2);
    for (const [sub, place] of PARTS) {
      if (one ? place : !parts.includes(sub)) continue;
      const of = (run) => own(run.metrics, name)?.[place];
      found.push({ id: `metrics.${name}.${sub}`, head: name, sub: one ? "" : sub, of, kind: "metric" });
    }
  }
  return found;
}

/** What a mapping itself has under a name: names like `__proto__` are names. @param {any} from @param {string} name */
export const own = (from, name) => (Object.hasOwn(from, name) ? from[name] : undefined);

/** @param {Run[]} runs @param {"parameters" | "tags" | "metrics"} field */
export function names(runs, field) {
  /** @type {Set<string>} */
  const found = new Set();
  for (const run of runs) for (const name of Object.keys(run[field])) found.add(name);
  return [...found];
}

/** What tells a setting from the others, in a line. @param {Setting} setting @param {string[]} different */
export function detail({ runs }, different) {
  return different.flatMap((name) => {
    const values = new Set(runs.map((run) => own(run.parameters, name)));
    const value = [...values][0];
    return values.size > 1 || value === undefined ? [] : [`${name} ${value}`];
  }).slice(0, 6).join(" · ");
}

/** @param {any[]} values */
export function differs(values) {
  return values.some((value) => String(value) !== String(values[0]) || typeof value !== typeof values[0]);
}

/** A value to sort by: numbers before texts, what is missing or NaN last. @param {any} value */
function rank(value) {
  if (typeof value === "number") return [0, value];
  if (value === "Infinity" || value === "-Infinity") return [0, Number(value)];
  if (value === null || value === undefined || value === "NaN") return [2, 0];
  return [1, String(value)];
}

/** Settings in another order: of several runs by their mean. @param {Setting[]} of @param {string} sort @param {Column[]} cols */
export function sorted(of, sort, cols) {
  const sign = sort.startsWith("-") ? -1 : 1;
  const id = sort.replace(/^-/, "");
  const column = cols.find((one) => one.id === id);
  const value = column ? column.of : (run) =>
    id === "name" ? run.name : id === "status" ? run.status : id === "seconds" ? seconds(run) : run.started ?? run.created;
  const keyed = of.map((setting) => ({ setting, key: rank(central(setting.runs.map(value))) }));
  keyed.sort((a, b) => a.key[0] - b.key[0] ||
    (a.key[1] === b.key[1] ? 0 : a.key[1] < b.key[1] ? -1 : 1) * (a.key[0] < 2 ? sign : 1));
  return keyed.map((one) => one.setting);
}

/** The mean of numbers, else the first value. @param {any[]} values */
export function central(values) {
  const numbers = values.filter((value) => typeof value === "number");
  return values.length > 1 && numbers.length ? numbers.reduce((sum, one) => sum + one, 0) / numbers.length : values[0];
}

/** How long it took, or has taken. @param {Run} run */
export function seconds(run) {
  if (!run.started) return undefined;
  return (run.finished && kind(run) !== "running" ? run.finished : kind(run) === "running" ? Date.now() / 1000 : NaN) - run.started;
}
