/** The table of runs: only the rows that are on the screen are there, so ten thousand are as quick as ten. */
import { age, change, duration, moment, number, spread, text } from "./format.js";
import { summary } from "./lines.js";
import { kind, seconds, seedOf } from "./runs.js";
import { flipped, keepScrolled, set, state } from "./state.js";
import { html, later, Painted } from "./view.js";

const Spark = later(async () => (await import("./spark.js")).Spark, "");
const ROW = 34;
const SPARE = 8;
const NARROW = 36;

export class Table extends Painted {
  top = 0; height = 800; open = "";
  known = Math.ceil(innerWidth / NARROW);

  componentDidMount() {
    super.componentDidMount();
    keepScrolled(this.place.current, [["row", "scrollTop", ROW], ["across", "scrollLeft", 1]]);
  }

  /** Columns that stay in sight are beside one another: how wide they are is known when they are there. */
  componentDidUpdate() {
    this.reveal();
    if (this.props.columns[0]?.pin === undefined) return;
    const heads = [...this.place.current.querySelectorAll("thead th.name, thead th.pinned")];
    let left = 36;
    heads.forEach((head, place) => {
      this.place.current.style.setProperty(`--pin-${place - 1}`, `${left}px`);
      left += head.offsetWidth;
    });
  }

  /** Whether a row is that of the run whose page is open: of its setting, where its seeds are not shown. */
  isOpen({ setting, run }) {
    return run ? run.id === state.open : !state.opened.includes(setting.id) && setting.runs.some((one) => one.id === state.open);
  }

  /** Bring the row of another open run into sight. */
  reveal() {
    if (state.open === this.open) return;
    this.open = state.open;
    const [place, list] = [this.props.rows.findIndex((row) => this.isOpen(row)), this.place.current];
    const isHidden = place * ROW < list.scrollTop || (place + 2) * ROW > list.scrollTop + list.clientHeight;
    if (place >= 0 && isHidden) list.scrollTop = place * ROW - list.clientHeight / 2;
  }

  paint() {
    const { scrollTop, clientHeight, scrollLeft, scrollWidth, clientWidth } = this.place.current;
    // Columns are made when they come into sight, and are there from then on.
    const isNear = scrollLeft > 0 && scrollLeft + clientWidth > scrollWidth - clientWidth;
    const known = isNear ? Math.min(Math.max(this.known, this.props.columns.length), this.known + Math.ceil(clientWidth / NARROW)) : this.known;
    if (Math.abs(scrollTop - this.top) < ROW && clientHeight === this.height && known === this.known) return;
    [this.top, this.height, this.known] = [scrollTop, clientHeight, known];
    this.setState({});
  }

  render() {
    const { rows, ranges } = this.props;
    const columns = this.props.columns.slice(0, this.known);
    const first = Math.max(0, Math.floor(this.top / ROW) - SPARE);
    const some = rows.slice(first, first + Math.ceil(this.height / ROW) + 2 * SPARE);
    const after = Math.max(0, rows.length - first - some.length);
    const width = columns.length + 4;
    this.alive = some.flatMap(({ setting, run }) => (run ? [run] : setting.runs)).filter((run) => kind(run) === "running");
    return html`<div class="list" ref=${this.place} onScroll=${() => this.paint()}>
      <table aria-label="runs" aria-rowcount=${rows.length} aria-colcount=${this.props.columns.length + 5}>
        <thead><tr>
          <th class="pick"><input type="checkbox" aria-label="choose all runs" checked=${this.props.chosen.size > 0}
            onChange=${() => set({ sel: this.props.chosen.size ? [] : this.props.all() })} /></th>
          ${head("name", "name", "")} ${head("status", "status", "")}
          ${columns.map((one) => head(one.id, one.head, one.sub, one.kind, one.pin))}
          ${head("started", "started", "")} ${head("seconds", "took", "")}
        </tr></thead>
        <tbody>
          ${first > 0 && html`<tr key="before" style=${{ height: `${first * ROW}px` }}><td colspan=${width + 1}></td></tr>`}
          ${some.map((row) => this.row(row, columns, ranges))}
          ${after > 0 && html`<tr key="after" style=${{ height: `${after * ROW}px` }}><td colspan=${width + 1}></td></tr>`}
        </tbody>
      </table>
    </div>`;
  }

  row({ setting, run, depth }, columns, ranges) {
    const { chosen, lit, hover, paint, base } = this.props;
    const isOpened = state.opened.includes(setting.id);
    const runs = run ? [run] : setting.runs;
    const ids = runs.map((one) => one.id);
    const picked = ids.every((id) => chosen.has(id));
    const label = text(run ? run.name || run.uid.slice(0, 8) : setting.runs[0].name || "seeds");
    const why = runs.find((one) => one.error)?.error;
    const key = run && depth ? `${run.id}/` : setting.id;
    return html`<tr key=${key} class=${`${lit === setting.id ? "lit" : ""} ${picked ? "picked" : ""} ${this.isOpen({ setting, run }) ? "open" : ""}`}
        onMouseEnter=${() => hover(setting.id)} onMouseLeave=${() => hover(null)}>
      <td class="pick"><input type="checkbox" aria-label=${`choose ${label}`} checked=${picked} onChange=${() => pick(ids, picked)} /></td>
      <td class=${why ? "name failed" : "name"} style=${{ paddingLeft: `${8 + depth * 18}px` }}>
        <i class="dot" style=${{ background: paint(run && depth ? run.colour : setting.colour) }}></i>
        ${runs.length > 1
          ? html`<button class="name" aria-expanded=${isOpened} onClick=${() => set({ opened: flipped(state.opened, setting.id) })} title=${`${label}: ${runs.length} seeds`}>
              <span>${label}</span> <small class="count">${isOpened ? "▾" : "▸"} ${runs.length} seeds</small></button>`
          : html`<button class="name" onClick=${() => set({ open: runs[0].id, tab: "run" }, true)} title=${`${label} ${runs[0].uid}`}>
              <span>${label}</span>${runs[0].revision ? html` <small>/${runs[0].revision}</small>` : ""}${depth ? html` <small class="count">${text(seedOf(runs[0]))}</small>` : ""}</button>`}
        ${base && ids.includes(base.id) && html` <small class="count">baseline</small>`}
        ${why && html`<span class="why" title=${text(why)}>${text(why)}</span>`}
      </td>
      <td>${runs.length > 1 ? tally(runs) : statuses(runs)}${runs.length === 1 && kind(runs[0]) === "running" && html`<${Spark} run=${runs[0]} runs=${this.alive} colour=${paint(runs[0].colour)} />`}</td>
      ${columns.map((one) => cell(one, runs, ranges.get(one.id), base))}
      <td class="time" title=${moment(runs[0].started ?? runs[0].created)}>${age(runs[0].started ?? runs[0].created)}</td>
      <td class="time">${spans(runs)}</td>
    </tr>`;
  }
}

/** Choose runs, or no longer. */
export function pick(ids, picked) {
  const kept = state.sel.filter((id) => !ids.includes(id));
  set({ sel: picked ? kept : [...kept, ...ids] });
}

function head(id, label, sub, of, pin) {
  const by = state.sort.replace(/^-/, "") === id;
  const down = by && state.sort.startsWith("-");
  const next = by ? (down ? id : `-${id}`) : id === "started" ? "-started" : id;
  return html`<th key=${id} class=${`${id === "name" ? "name" : of ?? ""} ${pin === undefined ? "" : "pinned"}`} style=${sticky(pin)} aria-sort=${by ? (down ? "descending" : "ascending") : null}>
    <button onClick=${() => set({ sort: next })} title=${`sort by ${text(label)} ${sub}`}>
    <span>${text(label)}</span>${sub && html`<small>${sub}</small>`}${by && html`<em>${down ? "↓" : "↑"}</em>`}</button></th>`;
}

/** How runs went. */
export const statuses = (runs) => runs.map((run) => html`<span key=${run.uid} class=${`status ${kind(run)}`} title=${text(run.error ?? run.status)}>${text(run.status)}</span>`);

/** How several runs went: each status once, with a number where there are others. */
function tally(runs) {
  const found = new Map();
  for (const run of runs) found.set(run.status, [...(found.get(run.status) ?? []), run]);
  if (found.size === 1) return statuses(runs.slice(0, 1));
  return [...found].map(([status, of]) => html`<span key=${status} class=${`status ${kind(of[0])}`} title=${`${of.length} ${text(status)}`} aria-label=${`${of.length} ${text(status)}`}>${of.length} ${MARK[kind(of[0])]}</span>`);
}

const MARK = { running: "▶", failed: "✕", done: "✓", paused: "‖", new: "○" };

function spans(runs) {
  const all = runs.map(seconds).filter((one) => one !== undefined && Number.isFinite(one));
  return all.length ? duration(all.reduce((sum, one) => sum + one, 0) / all.length) : "";
}

/** Where a column stays that is kept in sight. @param {number | undefined} pin */
const sticky = (pin) => (pin === undefined ? {} : { left: `var(--pin-${pin})` });

function cell(column, runs, range, base) {
  const values = runs.map(column.of).filter((value) => value !== undefined && value !== null);
  const numbers = values.filter((value) => typeof value === "number");
  const of = (kinds, inside, title) => html`<td key=${column.id} class=${column.pin === undefined ? kinds : `${kinds} pinned`} style=${sticky(column.pin)} title=${title}>${inside}</td>`;
  if (!values.length) return of("none", "–");
  const isMetric = column.kind === "metric";
  const against = base && !runs.includes(base) ? column.of(base) : undefined;
  const by = (value) => against !== undefined && isMetric && change(against, value) && html` <small class="by">${change(against, value)}</small>`;
  if (runs.length > 1 && isMetric && numbers.length) {
    const { mean, std, n } = summary(numbers);
    return of("number", html`${bar(mean, range)}${number(mean)} <small>± ${spread(std)} (${n})</small>${by(mean)}`);
  }
  const different = new Set(values.map(String));
  if (different.size > 1) return of("various", `${different.size} values`, text([...different].join(", ")));
  const strange = isMetric && typeof values[0] !== "number";
  const other = against !== undefined && !isMetric && String(against) !== String(values[0]) ? " other" : "";
  return of((strange ? "number strange" : typeof values[0] === "number" ? "number" : "") + other, html`${isMetric ? bar(values[0], range) : ""}${number(values[0])}${by(values[0])}`, text(values[0]));
}

/** Where a number is among those of its column. */
function bar(value, range) {
  if (!range || typeof value !== "number" || !(range[1] > range[0])) return "";
  return html`<i class="bar" style=${{ width: `${(96 * (value - range[0])) / (range[1] - range[0]) + 4}%` }}></i>`;
}
