/** Values as text for people. */

/** A number, short. @param {any} value */
export function number(value) {
  if (typeof value !== "number") return value === null || value === undefined ? "" : text(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e7) return String(value);
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) return value.toExponential(3).replace(/\.?0+e/, "e").replace("e+", "e");
  return String(Number(value.toPrecision(4)));
}

/** How far something is spread, as short as it deserves. @param {number} value */
export const spread = (value) => (Number.isFinite(value) ? number(Number(value.toPrecision(2))) : "");

/** How much a number is above or below another. @param {any} from @param {any} to */
export function change(from, to) {
  if (typeof from !== "number" || typeof to !== "number" || from === 0 || from === to) return "";
  const part = (100 * (to - from)) / Math.abs(from);
  return `${part > 0 ? "+" : "−"}${number(Number(Math.abs(part).toPrecision(2)))} %`;
}

/** A value of any kind, with what could mislead made visible. @param {any} value */
export function text(value) {
  if (value === null || value === undefined) return "";
  // Marks that turn the writing direction, and what has no form, would make one name look like another.
  return String(value).replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g, "�");
}

/** Seconds. @param {number | null | undefined} seconds */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "";
  const s = Math.max(0, seconds);
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 60) return `${s < 10 ? s.toFixed(1) : Math.round(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} m ${String(Math.floor(s % 60)).padStart(2, "0")} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, "0")} m`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

/** How long ago. @param {number | null} at unix seconds */
export function age(at) {
  if (!at) return "";
  const s = Date.now() / 1000 - at;
  for (const [unit, size] of /** @type {[string, number][]} */ ([["d", 86400], ["h", 3600], ["min", 60]]))
    if (s >= size) return `${Math.floor(s / size)} ${unit} ago`;
  return s > 10 ? `${Math.floor(s)} s ago` : "now";
}

/** A point in time. @param {number | null | undefined} at unix seconds */
export const moment = (at) => (at ? new Date(at * 1000).toLocaleString() : "");

/** Bytes. @param {number | null | undefined} count */
export function bytes(count) {
  if (count === null || count === undefined) return "";
  let size = count;
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (size < 1000) return `${unit === "B" ? size : size.toPrecision(3)} ${unit}`;
    size /= 1000;
  }
  return `${size.toPrecision(3)} TB`;
}
