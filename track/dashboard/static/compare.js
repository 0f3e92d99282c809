/** Two runs or more, side by side: what differs between them. */
import { fetchRun } from "./api.js";
import { number, text } from "./format.js";
import { differs, names, own, value } from "./runs.js";
import { set } from "./state.js";
import { Component, html } from "./view.js";

const MOST = 12;

export class Compare extends Component {
  pages = new Map();
  equal = false;
  failure = "";

  componentDidMount() {
    this.refresh();
  }

  componentDidUpdate() {
    this.refresh();
  }

  async refresh() {
    const missing = this.props.runs.slice(0, MOST).filter((run) => !this.pages.has(run.uid));
    for (const run of missing) this.pages.set(run.uid, null);
    await Promise.all(missing.map(async (run) => {
      try {
        this.pages.set(run.uid, await fetchRun(run.uid));
      } catch (error) {
        this.failure = error.message;
      }
    }));
    if (missing.length) this.setState({});
  }

  render() {
    const runs = this.props.runs.slice(0, MOST);
    const pages = runs.map((run) => this.pages.get(run.uid));
    const of = (from, name) => from.map((one) => own(one ?? {}, name));
    const rows = [];
    const add = (part, from) => {
      const all = new Set(from.flatMap((one) => Object.keys(one ?? {})));
      for (const name of all) rows.push([part, name, of(from, name), false]);
    };
    add("parameters", runs.map((run) => run.parameters));
    add("tags", runs.map((run) => run.tags));
    for (const name of names(runs, "metrics"))
      for (const sub of ["last", "min", "max"])
        rows.push(["metrics", `${name} ${sub}`, runs.map((run) => value(run, "metrics", name, sub)), true]);
    rows.push(["run", "status", runs.map((run) => run.status), false]);
    rows.push(["run", "error", runs.map((run) => run.error), false]);
    if (pages.every(Boolean)) for (const part of ["environment", "metadata", "packages"]) add(part, pages.map((page) => page[part]));
    const shown = rows.filter(([, , values]) => this.equal || differs(values));
    return html`<article class="compare" aria-label="comparison">
      ${this.failure && html`<p class="failure" role="alert">${text(this.failure)}</p>`}
      <p class="facts"><label class="toggle"><input type="checkbox" checked=${this.equal} onChange=${() => { this.equal = !this.equal; this.setState({}); }} />also what is equal (${rows.length - rows.filter((row) => differs(row[2])).length})</label>
        ${this.props.runs.length > MOST && html`<span>the first ${MOST} of ${this.props.runs.length} chosen runs</span>`}</p>
      <div class="sideways"><table class="plain"><thead><tr><th></th>${runs.map((run, place) =>
        html`<th key=${run.uid}><i class="dot" style=${{ background: this.props.paint(run.colour) }}></i><button class="link" onClick=${() => set({ open: run.id, tab: "run" }, true)}>${text(run.name || run.uid.slice(0, 8))}${run.revision ? `/${run.revision}` : ""}</button>${place ? "" : html`<small> first</small>`}</th>`)}</tr></thead>
      <tbody>${shown.map(([part, name, values, isMetric], place) => html`${shown[place - 1]?.[0] !== part && html`<tr key=${part} class="part"><th colspan=${runs.length + 1}>${part}</th></tr>`}
        <tr key=${`${part}.${name}`}><th title=${text(name)}>${text(name)}</th>${values.map((value, i) =>
          html`<td key=${i} class=${typeof value === "number" ? "number" : ""} title=${text(value)}>${value === undefined || value === null ? "–" : number(value)}${isMetric && i > 0 ? change(values[0], value) : ""}</td>`)}</tr>`)}
      </tbody></table></div>
      ${!shown.length && html`<p class="empty">Nothing differs.</p>`}
    </article>`;
  }
}

/** How much a number is above or below the first. */
function change(from, to) {
  if (typeof from !== "number" || typeof to !== "number" || from === 0 || from === to) return "";
  const part = (100 * (to - from)) / Math.abs(from);
  return html`<small> ${part > 0 ? "+" : "−"}${number(Number(Math.abs(part).toPrecision(2)))} %</small>`;
}
