/** From the curves that the server sent to the lines that are drawn: one a run, or one with a band for several seeds. */
import { detail } from "./runs.js";

/** @typedef {import("./api.js").Buckets} Buckets */
/** @typedef {import("./plot.js").Line} Line */

const T95 = [0, 12.71, 4.3, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.2, 2.18, 2.16, 2.14, 2.13];

/** @param {import("./runs.js").Setting[]} settings @param {Buckets} found @param {Buckets | null} raw
 * @param {(colour: number) => string} paint @param {string} band @param {string[]} different names of parameters
 * @param {boolean} isTime @returns {Line[]} */
export function linesOf(settings, found, raw, paint, band, different, isTime) {
  const smooth = new Map(found.curves.map((curve) => [curve.uid, curve]));
  const rough = new Map((raw?.curves ?? []).map((curve) => [curve.uid, curve]));
  const lines = [];
  // By the clock seeds are not beside one another, but one after the other.
  const some = isTime ? settings.flatMap((setting) => setting.runs.map((run) => ({ ...setting, runs: [run] }))) : settings;
  for (const setting of some) {
    const curves = setting.runs.flatMap((run) => smooth.get(run.uid) ?? []);
    if (!curves.length) continue;
    const about = { key: setting.id, label: labelOf(setting), colour: paint(setting.colour), detail: () => detail(setting, different) };
    if (setting.runs.length > 1) {
      lines.push({ ...about, ...together(curves, band), runs: curves.length });
      continue;
    }
    const behind = rough.get(curves[0].uid);
    const line = { ...about, ...parts(curves[0]), runs: 1 };
    if (behind) Object.assign(line, { raw: { ...about, ...parts(behind), runs: 1 }, marks: behind.marks });
    lines.push(line);
  }
  return lines;
}

/** @param {import("./runs.js").Setting} setting */
export const labelOf = ({ runs }) => (runs[0].name || runs[0].uid.slice(0, 8)) + (runs.length > 1 ? ` (${runs.length} seeds)` : runs[0].revision ? `/${runs[0].revision}` : "");

/** @param {import("./api.js").Curve} curve */
const parts = ({ xs, mean, low, high, count, marks }) => ({ x: xs, mean, low, high, count, marks });

/** The mean of several runs in each bucket, how they are spread around it, and of how many.
 * @param {import("./api.js").Curve[]} curves @param {string} band */
export function together(curves, band) {
  const at = new Map();
  for (const curve of curves)
    curve.xs.forEach((x, i) => {
      const there = at.get(x) ?? { means: [], least: Infinity, most: -Infinity };
      there.means.push(curve.mean[i]);
      there.least = Math.min(there.least, curve.low[i]);
      there.most = Math.max(there.most, curve.high[i]);
      at.set(x, there);
    });
  const x = Float64Array.from(at.keys()).sort();
  const [mean, low, high, members] = [0, 1, 2, 3].map(() => new Float64Array(x.length));
  x.forEach((place, i) => {
    const values = at.get(place);
    const of = summary(values.means);
    mean[i] = of.mean;
    members[i] = of.n;
    const half = { std: of.std, stderr: of.stderr, ci: of.ci }[band];
    [low[i], high[i]] = half === undefined ? [values.least, values.most] : [of.mean - half, of.mean + half];
  });
  const marks = curves.flatMap((curve) => curve.marks);
  return { x, mean, low, high, count: members, members, marks, isRange: band === "range" };
}

/** @param {number[]} values */
export function summary(values) {
  const n = values.length;
  // From the first one on: equal numbers have no spread.
  const mean = values[0] + values.reduce((sum, one) => sum + (one - values[0]), 0) / n;
  const std = n < 2 ? 0 : Math.sqrt(values.reduce((sum, one) => sum + (one - mean) ** 2, 0) / (n - 1));
  const stderr = std / Math.sqrt(n);
  return { n, mean, std, stderr, ci: stderr * (T95[n - 1] ?? 1.96) };
}
