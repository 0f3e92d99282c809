/** What the page asks a server elsewhere, answered from what lies in the file. */
import { Column } from "./columns.js";
import { bucketed } from "./curves.js";
import { matching } from "./filter.js";

/** @typedef {Float64Array} Numbers */
/** @typedef {{uid: string, xs: Numbers, mean: Numbers, low: Numbers, high: Numbers, count: Numbers,
 *   marks: {x: number, kind: string, count: number}[], densest: number}} Curve */
/** @typedef {{curves: Curve[], low: number | null, high: number | null, edges: Float64Array, unplaced: number}} Buckets */
/** @typedef {{said: any, packages: any[], pages: any[], moment: number, planes: [string, number][],
 *   curves: [string, any[]][]}} Head */

const PARTS = ["last", "min", "max", "count"];
const WIDTH = { f: 4, d: 8, H: 2, I: 4 };
const KIND = { f: Float32Array, d: Float64Array, H: Uint16Array, I: Uint32Array };

/** @type {Promise<{head: Head, pages: Map<string, any>, plane: (place: number) => any, curves: Map<string, Map<string, any>>}> | null} */
let opening = null;

/** When the file was written, unix seconds: what ran then runs no longer. */
let moment = 0;
export const now = () => moment;

/** The data, once unpacked. */
const opened = () => (opening ??= open());

async function open() {
  const place = document.getElementById("data");
  if (typeof DecompressionStream === "undefined") throw new Error("this browser is too old for this file: it cannot unpack what is in it");
  const packed = Uint8Array.from(atob(place?.textContent ?? ""), (letter) => letter.charCodeAt(0));
  place?.remove();
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(unpacked).arrayBuffer());
  const size = new DataView(bytes.buffer).getUint32(0, true);
  /** @type {Head} */
  const head = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + size)));
  moment = head.moment;
  const starts = [4 + size];
  for (const [code, count] of head.planes) starts.push(starts[starts.length - 1] + WIDTH[code] * count);
  const known = new Map();
  const plane = (which) => {
    if (!known.has(which)) known.set(which, joined(bytes, starts[which], ...head.planes[which]));
    return known.get(which);
  };
  const pages = new Map(head.pages.map((page) => [page.row.uid, page]));
  const curves = new Map(head.curves.map(([name, of]) => [name, new Map(of.map((one) => [head.pages[one.run].row.uid, one]))]));
  return { head, pages, plane, curves };
}

/** Numbers whose first bytes stand first, then their second ones, and so on.
 * @param {Uint8Array} bytes @param {number} start @param {string} code @param {number} count */
function joined(bytes, start, code, count) {
  const width = WIDTH[code];
  const found = new Uint8Array(width * count);
  for (let part = 0; part < width; part += 1)
    for (let i = 0, at = start + part * count; i < count; i += 1) found[i * width + part] = bytes[at + i];
  return new KIND[code](found.buffer);
}

/** The rows; nothing changes after them. @param {string | null} cursor */
export async function fetchRuns(cursor) {
  if (cursor) return null;
  const { head } = await opened();
  const rows = head.pages.map((page) => page.row);
  return { ...head.said, rows: rows.length, columns: columnsOf(rows) };
}

/** What runs have, a column each. @param {any[]} rows */
function columnsOf(rows) {
  /** @type {Map<string, Column>} */
  const found = new Map();
  /** @type {(row: number, value: any, of: import("./columns.js").Section, name: string, part?: string, seed?: boolean) => void} */
  const put = (row, value, of, name, part = "", seed = false) => {
    const id = [of, name, part].join("\n");
    let column = found.get(id);
    if (!column) {
      column = new Column(of, name, part, seed);
      if (typeof value === "number") column.numbers = new Float64Array(rows.length).fill(NaN);
      else column.codes = new Uint32Array(rows.length);
      found.set(id, column);
    }
    column.set(row, value);
  };
  rows.forEach(({ parameters, tags, metrics, seeds, ...facts }, row) => {
    for (const [name, value] of Object.entries(facts)) put(row, value, "run", name);
    for (const [name, value] of Object.entries(parameters)) put(row, value, "parameters", name, "", seeds.includes(name));
    for (const [name, value] of Object.entries(tags)) put(row, value, "tags", name);
    for (const [name, of] of Object.entries(metrics)) PARTS.forEach((part, place) => put(row, of[place], "metrics", name, part));
  });
  return [...found.values()];
}

/** The runs that a filter means. @param {string} q @returns {Promise<string[]>} */
export const fetchFound = async (q) => matching(q, (await opened()).head.pages, moment);

/** All about one run. @param {string} uid */
export async function fetchRun(uid) {
  const { head, pages } = await opened();
  const page = pages.get(uid);
  if (!page) throw new Error("there is no such run");
  return { ...page, packages: head.packages[page.packages] };
}

/** Which files of code differ between two runs; their lines are not in the file. @param {string} one @param {string} other
 * @returns {Promise<{name: string, lines: string[], why?: string}[]>} */
export async function fetchCode(one, other) {
  const { pages } = await opened();
  const [before, after] = [one, other].map((uid) => new Map((pages.get(uid)?.artifacts ?? []).map((file) => [file.name, file.digest])));
  const names = [...new Set([...before.keys(), ...after.keys()])].filter((name) => name.startsWith("code/")).sort();
  return names.map((name) => ({ name: name.slice(5), lines: [],
    ...(before.get(name) === after.get(name) ? {} : { why: before.has(name) && after.has(name) ? "differs; how, is not in this file" : "one run has it" }) }));
}

/** A metric of some runs in buckets. @param {any} question @param {AbortSignal} [signal] @returns {Promise<Buckets>} */
export async function fetchChart(question, signal) {
  const { pages, plane, curves } = await opened();
  signal?.throwIfAborted();
  return bucketed(question, (metric, uid) => curves.get(metric)?.get(uid), plane, (uid) => pages.get(uid)?.row.started ?? null);
}

/** What is shown of a text, a table or histograms; other files of runs are not in here. @param {string} path @returns {Promise<any>} */
export async function ask(path) {
  const [{ pages }, of] = [await opened(), new URLSearchParams(path.split("?")[1])];
  const one = pages.get(of.get("uid"))?.media.find((some) => some.held && (of.has("digest") ? some.digest === of.get("digest") : some.name === of.get("name")));
  if (!one) throw new Error(`${path} is not in this file`);
  return new Response(JSON.stringify(one.held));
}

/** A run is not changed here. @param {string} uid @param {object} change @returns {Promise<void>} */
export const change = async (uid, change) => Promise.reject(new Error("what is in a file is not changed"));
