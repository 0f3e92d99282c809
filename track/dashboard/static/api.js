/** What the server is asked. All addresses are relative: the page may be behind a proxy. */
import { decodeRuns } from "./columns.js";
import { placeOf } from "./places.js";

/** @typedef {Float64Array | Float32Array | Uint32Array} Numbers */
/** @typedef {{uid: string, xs: Numbers, mean: Numbers, low: Numbers, high: Numbers, count: Numbers,
 *   marks: {x: number, kind: string, count: number}[], densest: number}} Curve */
/** @typedef {{curves: Curve[], low: number | null, high: number | null, edges: Float64Array, unplaced: number}} Buckets */

/** Ask, and fail with the server's words. @param {string} path @param {RequestInit} [how] */
export async function ask(path, how) {
  const answer = await fetch(path, how).catch((error) => {
    throw error.name === "AbortError" ? error : new Error("no answer: does `track ui` still run?");
  });
  if (!answer.ok) throw Object.assign(new Error((await answer.text()).trim() || `the server said ${answer.status}`), { isFinal: [400, 404].includes(answer.status) });
  return answer;
}

/** Unix seconds as the runs have them. */
export const now = () => Date.now() / 1000;

/** Asked for while the rest of the page is on its way. @type {Promise<Response> | null} */
let first = ask("api/runs");
first.catch(() => {});

/** The runs that changed since a cursor; null for none. @param {string | null} cursor */
export async function fetchRuns(cursor) {
  const asking = first ?? ask(`api/runs${cursor ? `?since=${encodeURIComponent(cursor)}` : ""}`);
  first = null;
  const answer = await asking;
  return answer.status === 204 ? null : decodeRuns(await answer.arrayBuffer());
}

/** @param {string} path @param {any} of */
const get = async (path, of) => (await ask(`api/${path}?${new URLSearchParams(of)}`)).json();

/** @param {string} path @param {object} said @param {AbortSignal} [signal] */
const post = (path, said, signal) => ask(`api/${path}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(said), signal });

/** The runs that a filter means. @param {string} q @returns {Promise<string[]>} */
export const fetchFound = async (q) => (await get("find", { q })).uids;

/** All about one run. @param {string} uid */
export const fetchRun = (uid) => get("run", { uid });

/** What differs between the code that two runs have stored. @param {string} one @param {string} other
 * @returns {Promise<{name: string, lines: string[], why?: string}[]>} */
export const fetchCode = async (one, other) => (await get("code", [["uid", one], ["uid", other]])).files;

/** Change a run, and fail with the server's words. @param {string} uid @param {object} change */
export const change = (uid, change) => post("edit", { uid, ...change });

/** A metric of some runs in buckets. @param {any} question @param {AbortSignal} [signal] @returns {Promise<Buckets>} */
export const fetchChart = async (question, signal) => decode(await (await post("chart", question, signal)).arrayBuffer(), question.x);

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
    planes[name] = new WIDTHS[width](buffer, at, cells);
    at += 8 * Math.ceil((cells * Number(width[1])) / 8);
  }
  const places = Float64Array.from({ length: size }, (_, i) => placeOf(edges, i, ["step", "offset"].includes(x)));
  const curves = about.uids.map((uid, row) => curveOf(uid, planes, places, row * size));
  return { curves, low: about.low, high: about.high, edges, unplaced: about.unplaced };
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
