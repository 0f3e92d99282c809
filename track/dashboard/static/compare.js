/** Two runs or more, side by side: what differs between them. */
import { fetchCode, fetchRun } from "./api.js";
import { differs } from "./columns.js";
import { change, number, text } from "./format.js";
import { Media } from "./run.js";
import { isSystem, names, value } from "./runs.js";
import { set, state } from "./state.js";
import { Asking, html } from "./view.js";

const MOST = 12;

export class Compare extends Asking {
  pages = new Map();
  /** What differs between the code of the first run and the others. @type {Map<string, any[]>} */
  code = new Map();

  refresh() {
    const [first, ...others] = this.props.runs.slice(0, MOST);
    for (const { uid } of [first, ...others]) this.once(this.pages, uid, () => fetchRun(uid));
    const hasCode = ({ uid }) => this.pages.get(uid)?.artifacts.some((file) => file.name.startsWith("code/"));
    if (!hasCode(first)) return;
    for (const { uid } of others.filter(hasCode)) this.once(this.code, `${first.uid} ${uid}`, () => fetchCode(first.uid, uid));
  }

  /** The lines of code that differ between the first run and another. */
  difference(first, run) {
    const files = (this.code.get(`${first.uid} ${run.uid}`) ?? []).filter((file) => file.lines.length || file.why);
    return files.map((file) => html`<section key=${run.uid + file.name} class="code" aria-label=${`difference of ${text(file.name)}`}>
      <h3>${text(file.name)}</h3> <small>${text(first.name || first.id)} → ${text(run.name || run.id)} ${text(file.why)}</small>
      <pre tabindex="0">${file.lines.map((line, i) => html`<span key=${i} class=${{ "+": "plus", "-": "minus", "@": "place" }[line[0]] ?? ""}>${text(line)}${"\n"}</span>`)}</pre></section>`);
  }

  render() {
    const runs = this.props.runs.slice(0, MOST);
    const pages = runs.map((run) => this.pages.get(run.uid));
    const rows = [];
    const add = (part, from) => {
      const all = new Set(from.flatMap((one) => Object.keys(one ?? {})));
      for (const name of all) rows.push([part, name, from.map((one) => (Object.hasOwn(one ?? {}, name) ? one[name] : undefined)), false]);
    };
    add("parameters", runs.map((run) => run.parameters));
    add("tags", runs.map((run) => run.tags));
    for (const name of names(runs, "metrics"))
      for (const sub of isSystem(name) ? [name.endsWith(".peak") ? "max" : "last"] : ["last", "min", "max"])
        rows.push([isSystem(name) ? "system" : "metrics", isSystem(name) ? name : `${name} ${sub}`, runs.map((run) => value(run, "metrics", name, sub)), true]);
    rows.push(["run", "status", runs.map((run) => run.status), false]);
    rows.push(["run", "error", runs.map((run) => run.error), false]);
    if (pages.every(Boolean)) for (const part of ["environment", "metadata", "packages"]) add(part, pages.map((page) => page[part]));
    const shown = rows.filter(([part, , values]) => state.equal || (differs(values) && (part !== "system" || values.filter((one) => one !== undefined).length > 1)));
    return html`<article class="compare" aria-label="comparison">
      ${this.failure && html`<p class="failure" role="alert">${text(this.failure)}</p>`}
      <p class="facts"><label class="toggle"><input type="checkbox" checked=${state.equal} onChange=${() => set({ equal: !state.equal })} />also what is equal (${rows.length - rows.filter((row) => differs(row[2])).length})</label>
        ${this.props.runs.length > MOST && html`<span>the first ${MOST} of ${this.props.runs.length} chosen runs</span>`}</p>
      <div class="sideways"><table class="plain"><thead><tr><th></th>${runs.map((run, place) =>
        html`<th key=${run.uid}><i class="dot" style=${{ background: this.props.paint(run.colour) }}></i><button class="link" onClick=${() => set({ open: run.id, tab: "run" }, true)}>${text(run.name || run.uid.slice(0, 8))}${run.revision ? `/${run.revision}` : ""}</button>${place ? "" : html`<small> first</small>`}</th>`)}</tr></thead>
      <tbody>${shown.map(([part, name, values, isMetric], place) => html`${shown[place - 1]?.[0] !== part && html`<tr key=${part} class="part"><th colspan=${runs.length + 1}>${part}</th></tr>`}
        <tr key=${`${part}.${name}`}><th title=${text(name)}>${text(name)}</th>${values.map((value, i) =>
          html`<td key=${i} class=${typeof value === "number" ? "number" : ""} title=${text(value)}>${value === undefined || value === null ? "–" : number(value)}${isMetric && i > 0 && change(values[0], value) ? html`<small> ${change(values[0], value)}</small>` : ""}</td>`)}</tr>`)}
      </tbody></table></div>
      ${pages.some((page) => page?.media.length) && html`<${Media} runs=${runs} pages=${pages} />`}
      ${runs.slice(1).map((run) => this.difference(runs[0], run))}
      ${!shown.length && html`<p class="empty">Nothing differs.</p>`}
    </article>`;
  }
}
