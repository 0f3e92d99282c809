/** What runs have, a column each: numbers in a plane, words by their place in a list. A row is made only where one is seen. */

/** @typedef {"run" | "parameters" | "tags" | "metrics"} Section */
/** @typedef {{cursor: string, store: string, all: boolean, gone: string[], rows: number, columns: Column[], still?: string[], more?: boolean}} Said */

export class Column {
  /** Numbers; NaN where there is none, or where `odd` says something else. @type {Float64Array | null} */
  numbers = null;
  /** Places in `words`, 0 for none. @type {Uint32Array | null} */
  codes = null;
  /** @type {any[]} */ words = [undefined];
  /** @type {Map<any, number> | null} */ places = null;
  /** @type {Map<number, any>} */ odd = new Map();

  of = /** @type {Section} */ ("run"); name = ""; part = ""; seed = false; id = "";

  /** @param {Section} of @param {string} name @param {string} [part] @param {boolean} [seed] */
  constructor(of, name, part = "", seed = false) {
    Object.assign(this, { of, name, part, seed, id: [of, name, part].join("\n") });
  }

  /** @param {number} row @returns {any} */
  at(row) {
    if (this.odd.size) {
      const odd = this.odd.get(row);
      if (odd !== undefined) return odd;
    }
    if (this.numbers) {
      const number = this.numbers[row];
      return number === number ? number : undefined;
    }
    return this.codes ? this.words[this.codes[row]] : undefined;
  }

  /** @param {number} row @param {any} value */
  set(row, value) {
    this.odd.delete(row);
    const gone = value === undefined || value === null;
    if (this.numbers) {
      if (row >= this.numbers.length) this.numbers = longer(this.numbers, row, NaN);
      this.numbers[row] = typeof value === "number" ? value : NaN;
      if (!gone && typeof value !== "number") this.odd.set(row, value);
    } else if (this.codes) {
      if (row >= this.codes.length) this.codes = longer(this.codes, row, 0);
      this.codes[row] = gone ? 0 : this.place(value);
    } else if (!gone) this.odd.set(row, value);
  }

  /** @param {any} word */
  place(word) {
    this.places ??= new Map(this.words.map((one, place) => [one, place]));
    const known = this.places.get(word);
    if (known !== undefined) return known;
    this.words.push(word);
    this.places.set(word, this.words.length - 1);
    return this.words.length - 1;
  }

  /** Whether one of the runs has it. @param {{row: number}[]} runs */
  some(runs) {
    return runs.some((run) => this.at(run.row) !== undefined);
  }

  /** Whether the runs are not alike in it. @param {{row: number}[]} runs */
  differs(runs) {
    if (!runs.length) return false;
    const { numbers, codes } = this;
    const row = runs[0].row;
    if (numbers && !this.odd.size) {
      const first = numbers[row];
      return runs.some((run) => numbers[run.row] !== first && (first === first || numbers[run.row] === numbers[run.row]));
    }
    if (codes && !this.odd.size) return runs.some((run) => codes[run.row] !== codes[row]);
    return differs(runs.map((run) => this.at(run.row)));
  }

  /** The least and the greatest number. @param {{row: number}[]} runs @returns {[number, number]} */
  range(runs) {
    let [low, high] = [Infinity, -Infinity];
    for (const { row } of runs) {
      const value = this.numbers && !this.odd.size ? this.numbers[row] : this.at(row);
      if (typeof value !== "number") continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
    return [low, high];
  }
}

/** Whether values are not all alike. @param {any[]} values */
export const differs = (values) => values.some((value) => String(value) !== String(values[0]) || typeof value !== typeof values[0]);

/** A plane with room for a row, and for more. @template {Float64Array | Uint32Array} T @param {T} plane @param {number} row
 * @param {number} empty @returns {T} */
function longer(plane, row, empty) {
  const found = new /** @type {any} */ (plane).constructor(Math.max(64, 2 * row + 2));
  found.fill(empty, plane.length);
  found.set(plane);
  return found;
}

/** What the server said of runs: a line of JSON, and planes behind it. @param {ArrayBuffer} buffer @returns {Said} */
export function decodeRuns(buffer) {
  const bytes = new Uint8Array(buffer);
  const end = bytes.indexOf(10);
  const said = JSON.parse(new TextDecoder().decode(bytes.subarray(0, end)));
  let at = end + 1;
  /** @type {Column[]} */ const columns = [];
  for (const one of said.columns) {
    const column = new Column(one.of, one.name, one.part, one.seed);
    columns.push(column);
    if (one.kind === "number") {
      column.numbers = new Float64Array(buffer, at, said.rows);
      at += 8 * said.rows;
      for (const [row, value] of Object.entries(one.odd ?? {})) column.odd.set(Number(row), value);
    } else if (one.kind === "word") {
      column.codes = new Uint32Array(buffer, at, said.rows);
      at += 8 * Math.ceil(said.rows / 2);
      column.words = [undefined, ...one.values];
    } else if (one.kind === "as") {
      const same = columns[one.place];
      column.numbers = same.numbers && same.numbers.slice();
      column.codes = same.codes && same.codes.slice();
      column.words = [...same.words];
      column.odd = new Map(same.odd);
    } else if (one.kind === "few") one.rows.forEach((row, place) => column.odd.set(row, one.values[place]));
    else if (one.kind === "one" && typeof one.value === "number") column.numbers = new Float64Array(said.rows).fill(one.value);
    else if (one.kind === "one") [column.codes, column.words] = [new Uint32Array(said.rows).fill(1), [undefined, one.value]];
    else {
      column.codes = new Uint32Array(said.rows);
      one.values.forEach((value, row) => column.set(row, value));
    }
  }
  return { ...said, columns };
}
