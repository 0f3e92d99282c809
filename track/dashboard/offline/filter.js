/** The language of filters, as `track.filters` has it, for who has no server to ask: "lr<0.1 status:failed words". */

const KEYS = ["status", "tag", "group", "project", "name", "uid", "host"];
const TERM = /[-!]?(?:"(?:[^"\\]|\\.)*"|[^\s"])+/g;
const COMPARED = /^((?:"[^"]*"|[^\s"<>=!~:])+)(<=|>=|==|!=|<|>|=|~)([\s\S]*)$/;
const KEYED = /^([A-Za-z_]+):([\s\S]*)$/;
const NUMBER = /^[+-]?(?:\d+(?:_\d+)*\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i;
const SECONDS = { s: 1, m: 60, h: 3600, d: 86400, w: 604800 };
const FAILED = ["failed", "exception", "broken"];
const PARTS = { last: 0, min: 1, max: 2, count: 3 };
const WORDS = new Map([["true", true], ["false", false], ["none", null], ["null", null]]);
const NOT_FINITE = new Map([["NaN", NaN], ["Infinity", Infinity], ["-Infinity", -Infinity]]);

/** @typedef {{row: any, page: any, moment: number}} Item */

/** The uids of the runs that a filter means. @param {string} q @param {any[]} pages of all runs
 * @param {number} moment unix seconds @returns {string[]} */
export function matching(q, pages, moment) {
  const holds = parse(q);
  return pages.filter((page) => holds.every((one) => one({ row: page.row, page, moment }))).map((page) => page.row.uid);
}

/** @param {string} q @returns {((item: Item) => boolean)[]} */
function parse(q) {
  if ((q.match(/(?<!\\)"/g) ?? []).length % 2) throw new Error(`a quotation mark of the filter is not closed: ${q}`);
  return (q.match(TERM) ?? []).map((term) => {
    const turned = term.length > 1 && "-!".includes(term[0]);
    const holds = meaning(turned ? term.slice(1) : term);
    return turned ? (item) => !holds(item) : holds;
  });
}

/** @param {string} term @returns {(item: Item) => boolean} */
function meaning(term) {
  const keyed = !term.startsWith('"') && !term.includes("://") && KEYED.exec(term);
  if (keyed) return ofKey(keyed[1].toLowerCase(), keyed[2], term);
  const compared = COMPARED.exec(term);
  if (!compared) return words(bare(term).toLowerCase());
  const [column, sign, written] = [bare(compared[1]), compared[2], compared[3]];
  if (column !== "status" || !["=", "==", "!="].includes(sign)) return comparison(column, sign, written, term);
  const holds = ofKey("status", written, term);
  return sign === "!=" ? (item) => !holds(item) : holds;
}

/** A text without its quotation marks. @param {string} text */
const bare = (text) => text.replace(/\\([\s\S])|"/g, (_, kept) => kept ?? "");

function ofKey(key, text, term) {
  const values = (text.match(/(?:"(?:[^"\\]|\\.)*"|[^,"])+/g) ?? []).map(bare).filter(Boolean);
  if (!KEYS.includes(key)) throw new Error(`'${term}': what stands before a colon is one of ${KEYS.join(", ")}`);
  if (!values.length) throw new Error(`'${term}' says no value: write ${key}:VALUE`);
  if (key === "tag") return (item) => values.some((value) => hasTag(item.row.tags, value));
  if (key === "uid") return (item) => values.some((value) => item.row.uid.startsWith(value));
  if (key === "host") return (item) => values.includes(item.page.host);
  if (key !== "status") return (item) => values.includes(item.row[key]);
  const wanted = values.map((value) => value.toLowerCase());
  if (wanted.includes("failed")) wanted.push(...FAILED);
  return (item) => wanted.includes(String(item.row.status).toLowerCase());
}

function hasTag(tags, value) {
  if (Object.hasOwn(tags, value)) return true;
  const at = value.indexOf("=");
  const [name, wanted] = [value.slice(0, at), value.slice(at + 1)];
  return at > 0 && Object.hasOwn(tags, name) && (tags[name] === wanted || equal(tags[name], read(wanted)));
}

/** A number, a truth, nothing, or the text that was written. @param {string} written */
function read(written) {
  if (written.includes('"')) return bare(written);
  const lower = written.toLowerCase();
  if (WORDS.has(lower)) return WORDS.get(lower);
  if (NUMBER.test(written)) return Number(written.replaceAll("_", ""));
  const special = /^([+-]?)(inf|infinity|nan)$/.exec(lower);
  return special ? (special[2] === "nan" ? NaN : special[1] === "-" ? -Infinity : Infinity) : written;
}

function comparison(column, sign, written, term) {
  if (!written) throw new Error(`'${term}' compares with nothing: write ${column}${sign}VALUE`);
  let operand = /** @type {any} */ (read(written));
  if (sign === "~") {
    try {
      operand = new RegExp(bare(written));
    } catch (error) {
      throw new Error(`${written} is no regular expression: ${error.message}`);
    }
  } else if ("<>".includes(sign[0]) && !["number", "boolean"].includes(typeof operand)) {
    const span = ["age", "time"].includes(column) ? /^(\d+(?:\.\d+)?)([smhdw])$/.exec(written) : null;
    if (!span && !written.startsWith('"')) throw new Error(`'${term}': nothing is less or greater than ${written}, which is no number`);
    if (span) operand = Number(span[1]) * SECONDS[span[2]];
  }
  return (item) => {
    let value = valueOf(item, column);
    if (value === undefined) return sign === "!=" || (operand === null && sign !== "~");
    if (typeof operand === "string" && typeof value !== "string") value = shown(value);
    // Whole numbers that no double says are digits here.
    else if (typeof operand === "number" && typeof value === "string" && /^-?\d{16,}$/.test(value)) value = Number(value);
    return holds(sign, value, operand);
  };
}

function holds(sign, value, operand) {
  if (sign === "~") return value !== null && operand.test(shown(value));
  if (sign === "!=") return !Number.isNaN(value) && !equal(value, operand);
  if (sign[0] === "=") return equal(value, operand);
  if (value === null || (typeof value === "string") !== (typeof operand === "string")) return false;
  return { "<": value < operand, "<=": value <= operand, ">": value > operand, ">=": value >= operand }[sign];
}

const equal = (value, operand) => value === operand;
/** A value as Python writes it. @param {any} value */
const shown = (value) => (value === true ? "True" : value === false ? "False" : value === null ? "None" : String(value));

/** What a column says of a run; undefined where that is nothing. @param {Item} item @param {string} name */
function valueOf({ row, page, moment }, name) {
  const facts = {
    uid: () => row.uid, name: () => row.name || null, revision: () => row.revision, status: () => row.status, group: () => row.group,
    project: () => row.project, host: () => page.host, error: () => row.error, time: () => page.seconds, started: () => row.started,
    finished: () => row.finished, age: () => (row.created ?? row.started) && Math.max(0, moment - (row.created ?? row.started)),
  };
  if (Object.hasOwn(facts, name)) return facts[name]() ?? undefined;
  if (Object.hasOwn(row.parameters, name)) return row.parameters[name];
  const found = measured(row.metrics, name);
  if (found !== undefined) return found;
  const [section, rest] = [name.slice(0, name.indexOf(".")), name.slice(name.indexOf(".") + 1)];
  if (section === "metrics") return measured(row.metrics, rest);
  const metadata = page.note ? { ...page.metadata, note: page.note } : page.metadata;
  const from = { parameters: row.parameters, tags: row.tags, metadata }[section];
  return from && Object.hasOwn(from, rest) ? from[rest] : undefined;
}

function measured(metrics, name) {
  const dot = name.lastIndexOf(".");
  const [metric, part] = Object.hasOwn(metrics, name) ? [name, "last"] : [name.slice(0, dot), name.slice(dot + 1)];
  if (!Object.hasOwn(PARTS, part) || !Object.hasOwn(metrics, metric)) return undefined;
  const value = metrics[metric][PARTS[part]];
  return NOT_FINITE.has(value) ? NOT_FINITE.get(value) : value ?? undefined;
}

function words(wanted) {
  return ({ row, page }) => {
    const texts = [row.name, row.uid, page.description, row.project, row.group, row.error, row.status];
    for (const [name, value] of Object.entries(row.parameters)) texts.push(`${name}=${shown(value)}`);
    for (const [name, value] of Object.entries(row.tags)) texts.push(value === true ? name : `${name}=${shown(value)}`);
    return texts.some((one) => one !== null && one !== undefined && String(one).toLowerCase().includes(wanted));
  };
}
