/** Axes of what runs have, and the brushes on them: parts of axes, which filter everything. */
import { number, text } from "./format.js";
import { having, names, value } from "./runs.js";
import { numbered } from "./state.js";

/** @typedef {import("./runs.js").Run} Run */
/** @typedef {{id: string, name: string, of: (run: Run) => any, log: boolean, low: number, high: number, values: any[] | null}} Axis */

/** The axes that runs have: parameters that differ, but for seeds, and the last value of each metric. */
export function axesOf(runs) {
  const found = [];
  for (const from of having(runs, "parameters"))
    if (!from.seed && from.differs(runs)) found.push(axis(`parameters.${from.name}`, from.name, (run) => from.at(run.row), runs));
  for (const name of names(runs, "metrics"))
    found.push(axis(`metrics.${name}`, name, (run) => value(run, "metrics", name, "last"), runs));
  return found;
}

function axis(id, name, of, runs) {
  const all = runs.map(of).filter((value) => value !== undefined && value !== null && value !== "NaN");
  const numbers = all.filter((value) => typeof value === "number");
  if (numbers.length < all.length || !numbers.length) {
    const values = [...new Set(all.map(String))].sort();
    return { id, name, of, log: false, low: -0.5, high: values.length - 0.5, values };
  }
  const low = numbers.reduce((a, b) => Math.min(a, b));
  const high = numbers.reduce((a, b) => Math.max(a, b));
  return { id, name, of, log: low > 0 && high / low > 50, low, high, values: null };
}

/** Where a run is on an axis, from 0 below to 1 above; null for nowhere. */
export function placeOn(on, run) {
  const value = on.of(run);
  if (value === undefined || value === null) return null;
  const at = on.values ? on.values.indexOf(String(value)) : value;
  if (typeof at !== "number" || (on.values && at < 0)) return null;
  if (on.high === on.low) return 0.5;
  return on.log ? Math.log(at / on.low) / Math.log(on.high / on.low) : (at - on.low) / (on.high - on.low);
}

/** Where an axis has labels: on each of its values, else on some places of it. @param {Axis} on @param {number[]} places */
export function marks(on, places) {
  if (on.values) return on.values.slice(0, 12).map((value, i) => ({ at: (i + 0.5) / on.values.length, label: text(value) }));
  const valueAt = (at) => (on.log ? on.low * (on.high / on.low) ** at : on.low + at * (on.high - on.low));
  return (on.high === on.low ? [0.5] : places).map((at) => ({ at, label: number(Number(valueAt(at).toPrecision(3))) }));
}

/** The runs inside all brushes. */
export function brushed(runs, brushes) {
  if (!brushes.length) return runs;
  const axes = new Map(axesOf(runs).map((one) => [one.id, one]));
  const limits = brushes.map((one) => numbered(one, 2)).filter(([id]) => axes.has(id));
  return runs.filter((run) => limits.every(([id, low, high]) => {
    const place = placeOn(axes.get(id), run);
    return place !== null && place >= low && place <= high;
  }));
}
