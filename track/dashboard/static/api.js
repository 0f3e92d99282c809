/** What the server is asked. All addresses are relative: the page may be behind a proxy. */
import { decodeRuns } from "./columns.js";

/** @typedef {Float64Array | Float32Array | Uint32Array} Numbers */
/** @typedef {{uid: string, xs: Numbers, mean: Numbers, low: Numbers, high: Numbers, count: Numbers,
 *   marks: {x: number, kind: string, count: number}[], densest: number}} Curve */
/** @typedef {{curves: Curve[], low: number | null, high: number | null, edges: Float64Array, unplaced: number}} Buckets */

/** Ask, and fail with the server's words. @param {string} path @param {RequestInit} [how] */
export async function ask(path, how) {
  const answer = await fetch(path, how).catch((error) => {
    throw error.name === "AbortError" ? error : new Error("no answer: does `track ui` still run?");
  });
  if (!answer.ok) throw new Error((await answer.text()).trim() || `the server said ${answer.status}`);
  return answer;
}

/** Unix seconds as the runs have them. */
export const now = () => Date.now() / 1000;

/** Asked for while the rest of the page is on its way. @type {Promise<Response> | null} */
let first = ask("api/runs");
first.catch(() => {});

/** The runs that changed since a cursor; null for none. @param {string | null} cursor */
export async function fetchRuns(cursor) {
  const answer = await (first ?? ask(`api/runs${cursor ? `?since=${encodeURIComponent(cursor)}` : ""}`));
  first = null;
  return answer.status === 204 ? null : decodeRuns(await answer.arrayBuffer());
}

/** The runs that a filter means. @param {string} q @returns {Promise<string[]>} */
export async function fetchFound(q) {
  return (await (await ask(`api/find?q=${encodeURIComponent(q)}`)).json()).uids;
}

/** All about one run. @param {string} uid */
export async function fetchRun(uid) {
  return (await ask(`api/run?uid=${encodeURIComponent(uid)}`)).json();
}

/** What differs between the code that two runs have stored. @param {string} one @param {string} other
 * @returns {Promise<{name: string, lines: string[], why?: string}[]>} */
export async function fetchCode(one, other) {
  return (await (await ask(`api/code?uid=${encodeURIComponent(one)}&uid=${encodeURIComponent(other)}`)).json()).files;
}

/** A metric of some runs in buckets. @param {any} question @param {AbortSignal} [signal] @returns {Promise<Buckets>} */
export async function fetchChart(question, signal) {
  const body = JSON.stringify(question);
  const headers = { "Content-Type": "application/json" };
  const answer = await ask("api/chart", { method: "POST", headers, body, signal });
  return decode(await answer.arrayBuffer(), question.x);
}

/** Change a run, and fail with the server's words. @param {string} uid @param {object} change */
export async function change(uid, change) {
  const headers = { "Content-Type": "application/json" };
  await ask("api/edit", { method: "POST", headers, body: JSON.stringify({ uid, ...change }) });
}

/** @type {Record<string, any>} */
const WIDTHS = { f4: Float32Array, f8: Float64Array, u4: Uint32Array };

/** The curves in what the server sent: a line of JSON, the edges, and planes of a row a run.
 * @param {ArrayBuffer} buffer @param {string} x @returns {Buckets} */
export function decode(buffer, x) {
  const end = new Uint8Array(buffer).indexOf(10);
  const about = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 0, end)));
  const size = about.buckets;
  const cells = size * about.uids.length;
  const edges = new Float64Array(buffer, end + 1, size + 1);
  let at = end + 1 + 8 * (size + 1);
  /** @type {Record<string, Numbers>} */
  const planes = {};
  for (const [name, width] of about.planes) {
    planes[name] = width === "i8" ? whole(buffer, at, cells) : new WIDTHS[width](buffer, at, cells);
    at += 8 * Math.ceil((cells * Number(width[1])) / 8);
  }
  const places = placesOf(edges, x);
  const curves = about.uids.map((uid, row) => curveOf(uid, planes, places, row * size));
  return { curves, low: about.low, high: about.high, edges, unplaced: about.unplaced };
}

/** Whole numbers of 64 bits as doubles. @param {ArrayBuffer} buffer @param {number} start @param {number} cells */
function whole(buffer, start, cells) {
  const halves = new Uint32Array(buffer, start, 2 * cells);
  const found = new Float64Array(cells);
  for (let i = 0; i < cells; i += 1) found[i] = halves[2 * i] + 4294967296 * halves[2 * i + 1];
  return found;
}

/** Where the points of each bucket are drawn: on their step where a bucket has room for one only.
 * @param {Float64Array} edges @param {string} x */
function placesOf(edges, x) {
  const isSteps = x === "step";
  return Float64Array.from({ length: edges.length - 1 }, (_, i) => {
    const [from, to] = [edges[i], edges[i + 1]];
    const last = i === edges.length - 2;
    const step = last ? Math.floor(to) : Math.ceil(from);
    const isOne = isSteps && to - from <= 1 && step >= from && step <= to;
    return isOne ? step : (from + to) / 2;
  });
}

/** @param {string} uid @param {Record<string, Numbers>} planes @param {Float64Array} places @param {number} at
 * @returns {Curve} */
function curveOf(uid, planes, places, at) {
  const kept = [];
  const odd = ["nan", "plus_inf", "minus_inf"].filter((kind) => planes[kind]);
  const marks = [];
  let densest = 0;
  for (let i = 0; i < places.length; i += 1) {
    const count = planes.count[at + i];
    if (count) kept.push(i);
    if (count > densest) densest = count;
    for (const kind of odd) if (planes[kind][at + i]) marks.push({ x: places[i], kind, count: planes[kind][at + i] });
  }
  const of = (plane, start) => {
    if (kept.length === places.length) return plane.subarray(start, start + kept.length);
    const found = plane.slice(0, kept.length);
    for (let k = 0; k < kept.length; k += 1) found[k] = plane[start + kept[k]];
    return found;
  };
  const { mean, least, greatest, count } = planes;
  return { uid, xs: of(places, 0), mean: of(mean, at), low: of(least, at), high: of(greatest, at),
    count: of(count, at), marks, densest };
}
