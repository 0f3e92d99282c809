/** A run's own page: all that is known of it. */
import { fetchRun } from "./api.js";
import { Files } from "./files.js";
import { duration, moment, number, text } from "./format.js";
import * as runs from "./runs.js";
import { set, state } from "./state.js";
import { statuses } from "./table.js";
import { Asking, fold, html, later } from "./view.js";

export const Media = later(async () => (await import("./media.js")).Media, "");

export class RunPage extends Asking {
  page = null; asked = "";
  /** What a run is edited with, where the server lets it be changed. @type {any} */
  Edit = null;

  componentDidMount() {
    super.componentDidMount();
    // What it prints is in no row of the table; what failed is asked for again.
    this.timer = setInterval(() => {
      if (document.hidden || (runs.kind(this.props.run) !== "running" && !this.failure)) return;
      this.asked = "";
      this.refresh();
    }, 2000);
  }

  componentWillUnmount() { clearInterval(this.timer); }

  async refresh() {
    const { run, mark } = this.props;
    const asked = `${run.uid} ${mark}`;
    if (asked === this.asked) return;
    this.asked = asked;
    await this.attempt(async () => {
      const page = await fetchRun(run.uid);
      if (this.asked === asked) this.page = page;
      // Most pages are only read.
      if (page.statuses) this.Edit ??= (await import("./edit.js")).Edit;
    });
  }

  render() {
    const { run } = this.props;
    const took = duration(runs.seconds(run));
    const page = this.page?.row.uid === run.uid ? this.page : null;
    return html`<article class="run" aria-label=${`run ${text(run.name)}`}>
      <header><h2 title=${text(run.name)}>${text(run.name || run.uid.slice(0, 8))}${run.revision ? html`<small> /${run.revision}</small>` : ""}</h2>${statuses([run])}
        <p class="facts"><span>started ${moment(run.started ?? run.created)}</span>${took && html`<span>took ${took}</span>`}
        ${run.group && html`<span>group ${text(run.group)}</span>`}<code title="uid">${run.uid.slice(0, 12)}…_${run.revision}</code>
        <button class="chip" aria-pressed=${state.base === run.id} onClick=${() => set({ base: state.base === run.id ? "" : run.id })}>${state.base === run.id ? "baseline ×" : "make it the baseline"}</button></p></header>
      ${family("begun in", runs.list.filter((one) => one.uid === run.parent))}${family("began", runs.list.filter((one) => one.parent === run.uid))}
      ${this.failure && html`<p class="failure" role="alert">${text(this.failure)}</p>`}
      ${run.status === "broken" && !run.error && !run.finished && html`<p class="facts"><span>It ended without a word: its process was killed, or its machine is gone.</span></p>`}
      ${page?.left.alerts > 0 && html`<p class="facts alert" role="note"><span>${number(page.left.alerts)} earlier alerts are not kept</span></p>`}
      ${page?.alerts.map((one, place) => html`<p key=${place} class="facts alert" role="note"><span>${moment(one.at)} ${text(one.level)}</span><b>${text(one.title)}</b><span>${text2(one.text)}</span></p>`)} ${page?.errors.map((error, place) => html`<pre key=${place} class="error" tabindex="0">${text2(error)}</pre>`)}
      ${page?.statuses && this.Edit && html`<${this.Edit} page=${page} saved=${() => { this.asked = ""; this.refresh(); }} />`}
      ${page?.note && !page.statuses && html`<section><h3>note</h3><p class="description">${text2(page.note)}</p></section>`}
      ${page?.description && html`<p class="description">${text2(page.description)}</p>`}
      ${!page && !this.failure && html`<p class="empty">Reading the run …</p>`}
      ${page && html`${metrics("metrics", page.row, false)} ${section("parameters", page.row.parameters)} ${section("tags", page.row.tags)}
        ${page.output && html`<section><h3>output</h3><pre tabindex="0">${text2(page.output)}</pre></section>`}
        ${page.media.length > 0 && html`<section><h3>media</h3><${Media} runs=${[run]} pages=${[page]} /></section>`}
        <${Files} uid=${run.uid} files=${page.artifacts} serves=${page.serves} /> ${section("metadata", page.metadata)} ${section("times", page.times)}
        ${section("environment", page.environment)} ${metrics("system", page.row, true)} ${section(`packages (${Object.keys(page.packages).length})`, page.packages, true)}`}
    </article>`;
  }
}

/** Runs that were begun in one another's blocks. */
const family = (how, some) => some.length > 0 && html`<p class="facts"><span>${how}</span>${some.slice(0, 50).map((one) =>
  html`<button key=${one.id} class="link" onClick=${() => set({ open: one.id }, true)}>${text(one.name || one.id)}${one.revision ? `/${one.revision}` : ""}</button>`)}</p>`;

/** Text of several lines, without the colours of a terminal. */
const text2 = (said) => String(said).replace(/\u001b\[[0-9;:]*m/g, "").split("\n").map(text).join("\n");

function section(title, values, closed) {
  const all = Object.entries(values ?? {});
  if (!all.length) return "";
  return fold(title.split(" ")[0], !closed, title, html`<dl>${all.map(([name, value]) =>
    html`<div key=${name}><dt title=${text(name)}>${text(name)}</dt><dd title=${text(value)}>${number(value)}</dd></div>`)}</dl>`);
}

function metrics(title, run, ofSystem) {
  const all = Object.entries(run.metrics).filter(([name]) => runs.isSystem(name) === ofSystem);
  if (!all.length) return "";
  return html`<section><h3>${title}</h3><table class="plain"><thead><tr><th>name</th><th>last</th><th>min</th><th>at</th><th>max</th><th>at</th><th>points</th></tr></thead>
    <tbody>${all.map(([name, of]) => html`<tr key=${name}><td>${text(name)}</td>${[0, 1, 5, 2, 6, 3].map((place) => html`<td key=${place} class="number">${number(of[place])}</td>`)}</tr>`)}</tbody></table></section>`;
}
