/** From the curves in the file to the buckets that a chart asks for, as the server makes them of all points. */
import { closest, placeOf } from "./places.js";

/** A curve as it is in the file: places along its steps, each of a point, or of several put together.
 * @typedef {{run: number, size: number, first: number, by: number, steps?: number, mean: number, low?: number, high?: number,
 *   count?: number, time?: number, since?: number, span?: number, odd: [string, number, number][], ends: [number, number]}} Kept */
/** @typedef {{x: Float64Array, mean: Float64Array, low: Float64Array, high: Float64Array, count: Float64Array,
 *   ends: [number, number] | null, odd: {x: number, kind: string, count: number}[], unplaced: number}} Placed */

const UNKNOWN = 65535;
const KINDS = { nan: 0, plus_inf: 1, minus_inf: 2 };

/** @param {any} question @param {(metric: string, uid: string) => Kept | undefined} find @param {(which: number) => any} plane
 * @param {(uid: string) => number | null} started */
export function bucketed(question, find, plane, started) {
  const lines = [];
  for (const uid of question.uids) {
    const kept = find(question.metric, uid);
    if (!kept) continue;
    const line = ordered(placed(kept, question.x, plane, started(uid), (metric) => find(metric, uid)));
    if (question.smoothing) line.mean = line.low = line.high = smoothed(line, question.smoothing);
    lines.push({ uid, line });
  }
  const [start, end] = ends(question, lines);
  const size = question.buckets;
  const edges = Float64Array.from({ length: size + 1 }, (_, i) => (i === size ? end : start + ((end - start) * i) / size));
  const curves = lines.map(({ uid, line }) => ({ uid, ...filled(line, edges, ["step", "offset"].includes(question.x)) }));
  const unplaced = lines.reduce((sum, { line }) => sum + line.unplaced, 0);
  return { curves, low: start, high: end, edges, unplaced };
}

/** Where the grid begins and ends. */
function ends({ x, start, end }, lines) {
  let [low, high] = [Infinity, -Infinity];
  for (const { line } of lines) {
    if (line.ends) [low, high] = [Math.min(low, line.ends[0]), Math.max(high, line.ends[1])];
    else if (line.x.length) [low, high] = [Math.min(low, line.x[0]), Math.max(high, line.x[line.x.length - 1])];
    for (const odd of line.odd) [low, high] = [Math.min(low, odd.x), Math.max(high, odd.x)];
  }
  if (low > high || x === "relative") [low, high] = [0, 1];
  const from = start ?? (end === null || end === undefined || low < end ? low : end - 1);
  const to = end ?? (high > from ? high : from + 1);
  return [from, to];
}

/** The step of each place. @param {Kept} kept @param {(which: number) => any} plane */
function stepsOf(kept, plane) {
  return kept.steps === undefined ? Float64Array.from({ length: kept.size }, (_, i) => kept.first + i * kept.by) : plane(kept.steps);
}

/** When each place was; NaN where that is not known. @param {Kept} kept @param {(which: number) => any} plane */
function timesOf(kept, plane) {
  if (kept.time === undefined) return new Float64Array(kept.size).fill(NaN);
  let sum = 0;
  return Float64Array.from(plane(kept.time), (by) => {
    sum = (sum + by) & 65535;
    return sum === UNKNOWN ? NaN : kept.since + (kept.span * sum) / (UNKNOWN - 1);
  });
}

/** The places of a curve along an x. @param {Kept} kept @param {string} axis @param {(which: number) => any} plane
 * @param {number | null} started @param {(metric: string) => Kept | undefined} find @returns {Placed} */
function placed(kept, axis, plane, started, find) {
  const along = axisOf(kept, axis, plane, started, find);
  const mean = plane(kept.mean);
  const [low, high] = [kept.low === undefined ? mean : plane(kept.low), kept.high === undefined ? mean : plane(kept.high)];
  const count = kept.count === undefined ? null : plane(kept.count);
  const chosen = [];
  /** @type {Placed["odd"]} */
  const odd = [];
  const ends = { step: kept.ends, offset: /** @type {[number, number]} */ ([0, kept.ends[1] - kept.ends[0]]) }[axis];
  let unplaced = 0;
  for (let i = 0; i < kept.size; i += 1) {
    const many = count ? count[i] : 1;
    if (!many) continue;
    if (!Number.isFinite(along[i])) unplaced += many;
    else if (Number.isFinite(mean[i])) chosen.push(i);
    else odd.push({ x: along[i], kind: Number.isNaN(mean[i]) ? "nan" : mean[i] > 0 ? "plus_inf" : "minus_inf", count: many });
  }
  for (const [kind, i, many] of kept.odd) {
    if (Number.isFinite(along[i])) odd.push({ x: along[i], kind, count: many });
    else unplaced += many;
  }
  const of = (values) => Float64Array.from(chosen, (i) => values[i]);
  return { x: of(along), mean: of(mean), low: of(low), high: of(high), count: count ? of(count) : new Float64Array(chosen.length).fill(1),
    ends: ends && chosen.length + odd.length ? ends : null, odd: odd.sort((a, b) => a.x - b.x), unplaced };
}

function axisOf(kept, axis, plane, started, find) {
  const steps = stepsOf(kept, plane);
  if (axis === "step") return steps;
  if (axis === "offset") return Float64Array.from(steps, (step) => step - kept.ends[0]);
  if (axis === "relative") {
    const [low, high] = kept.ends;
    return Float64Array.from(steps, (step) => (high > low ? (step - low) / (high - low) : Number.isFinite(step) ? 0 : NaN));
  }
  if (axis === "wall" || axis === "time") {
    const times = timesOf(kept, plane);
    const zero = axis === "wall" ? 0 : started || times.find((time) => !Number.isNaN(time)) || 0;
    return times.map((time) => time - zero);
  }
  const other = find(axis.slice(7));
  if (!other) return new Float64Array(kept.size).fill(NaN);
  const [places, values] = [stepsOf(other, plane), plane(other.mean)];
  if (other.count === undefined && kept.count === undefined) {
    const known = new Map(Array.from(places, (step, i) => [step, values[i]]));
    return Float64Array.from(steps, (step) => known.get(step) ?? NaN);
  }
  // Of what was put together, the place that the step is in.
  const filled = Array.from(places.keys()).filter((i) => Number.isFinite(values[i]));
  const among = filled.map((i) => places[i]);
  return Float64Array.from(steps, (step) => values[filled[closest(among, step)]] ?? NaN);
}

/** The same in the order of x. @param {Placed} line @returns {Placed} */
function ordered(line) {
  if (line.x.every((x, i) => !i || x >= line.x[i - 1])) return line;
  const order = Array.from(line.x.keys()).sort((a, b) => line.x[a] - line.x[b] || a - b);
  const of = (values) => Float64Array.from(order, (i) => values[i]);
  return { ...line, x: of(line.x), mean: of(line.mean), low: of(line.low), high: of(line.high), count: of(line.count) };
}

/** The moving mean: each value counts so many times as much as the one after it; of n points together, n times.
 * @param {Placed} line @param {number} weight */
function smoothed(line, weight) {
  let [sum, all] = [0, 0];
  return line.mean.map((value, i) => {
    const kept = weight ** line.count[i];
    sum = sum * kept + value * (1 - kept);
    all = all * kept + 1 - kept;
    return sum / all;
  });
}

/** A curve in buckets: those with points. @param {Placed} line @param {Float64Array} edges @param {boolean} isSteps */
function filled(line, edges, isSteps) {
  const size = edges.length - 1;
  const [start, end] = [edges[0], edges[size]];
  const bucket = (x) => {
    if (x < start || x > end) return -1;
    let at = Math.min(size - 1, Math.max(0, Math.floor(((x - start) * size) / (end - start))));
    while (at && x < edges[at]) at -= 1;
    while (at < size - 1 && x >= edges[at + 1]) at += 1;
    return at;
  };
  const [xs, mean, low, high, count] = [[], [], [], [], []];
  let [last, densest] = [-1, 0];
  for (let i = 0; i < line.x.length; i += 1) {
    const at = bucket(line.x[i]);
    if (at < 0) continue;
    if (at !== last) {
      last = at;
      xs.push(placeOf(edges, at, isSteps));
      for (const of of [mean, count]) of.push(0);
      low.push(Infinity);
      high.push(-Infinity);
    }
    const k = xs.length - 1;
    count[k] += line.count[i];
    mean[k] += ((line.mean[i] - mean[k]) * line.count[i]) / count[k];
    low[k] = Math.min(low[k], line.low[i]);
    high[k] = Math.max(high[k], line.high[i]);
    densest = Math.max(densest, count[k]);
  }
  const marks = new Map();
  for (const { x, kind, count: many } of line.odd) {
    const at = bucket(x);
    if (at < 0) continue;
    const key = at * 3 + KINDS[kind];
    marks.set(key, { x: placeOf(edges, at, isSteps), kind, count: (marks.get(key)?.count ?? 0) + many });
  }
  const [a, b, c, d, e] = [xs, mean, low, high, count].map((values) => Float64Array.from(values));
  return { xs: a, mean: b, low: c, high: d, count: e, marks: [...marks.values()], densest };
}
