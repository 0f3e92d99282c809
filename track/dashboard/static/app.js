/** The page: what is where, and what keeps it up to date. */
import { fetchFound, fetchRuns } from "./api.js";
import { Chart, charted, Controls } from "./charts.js";
import { text } from "./format.js";
import * as runs from "./runs.js";
import { follow, keepScrolled, listen, nextView, set, state } from "./state.js";
import { Table } from "./table.js";
import { Component, fold, html, later, render } from "./view.js";

const Compare = later(async () => (await import("./compare.js")).Compare);
/** @type {any} what knows the runs inside brushes: it comes with what makes these, or with a link that has some */
let brushes = null;
const Parallel = later(async () => {
  brushes = await import("./brushes.js");
  return (await import("./parallel.js")).Parallel;
});
const Scatter = later(async () => (await import("./scatter.js")).Scatter);
const Chooser = later(async () => (await import("./chooser.js")).Chooser, "");
const Help = later(async () => (await import("./keys.js")).Help, "");
const RunPage = later(async () => (await import("./run.js")).RunPage);
const [SOON, LATER, LATE, QUIET, MOST_LINES] = [2000, 5000, 10000, 10, 2000];

class App extends Component {
  cursor = null; store = ""; failure = ""; quiet = 0; marks = 0; lit = ""; timer = null; kept = {};
  still = null; more = false; // what a file says of itself; whether these are the latest runs, and others are on their way
  asked = ""; wrong = ""; foundAt = 0; finding = null; found = null; // what the filter means
  /** @type {any} what the keyboard does: it comes with the first key */
  keys = null;

  componentDidMount() {
    listen(() => this.setState({}));
    addEventListener("popstate", follow);
    addEventListener("hashchange", follow);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.setState({}));
    document.addEventListener("visibilitychange", () => document.hidden || this.poll());
    addEventListener("keydown", (event) => {
      if (event.key === "/" && !(/** @type {HTMLElement} */ (event.target)).matches("input, textarea")) event.preventDefault();
      const press = (keys) => (this.keys = keys).press(event, this.shown ?? []);
      if (this.keys) press(this.keys);
      else import("./keys.js").then(press);
    });
    follow();
    this.poll();
  }

  /** Ask what changed, and again after a while: seldom where little happens, not at all where nobody looks. */
  async poll() {
    clearTimeout(this.timer);
    if ((document.hidden || this.still) && this.cursor) return;
    try {
      const said = await fetchRuns(this.cursor);
      this.quiet = said ? 0 : this.quiet + 1;
      const failed = this.failure;
      this.failure = "";
      // A filter that nobody has answered is asked again.
      if (failed) this.asked = "";
      if (said) {
        [this.cursor, this.store, this.still, this.more] = [said.cursor, said.store, said.still ?? null, said.more ?? false];
        runs.take(said);
        this.marks += 1;
      }
      if (said || failed) this.setState({});
    } catch (error) {
      this.failure = error.message;
      this.setState({});
    }
    clearTimeout(this.timer);
    const alive = runs.list.some((run) => runs.kind(run) === "running");
    this.timer = setTimeout(() => this.poll(), this.more && !this.failure ? 0 : this.quiet > (alive ? 20 * QUIET : QUIET) ? LATE : alive || !this.quiet ? SOON : LATER);
  }

  /** @param {HTMLElement} side */
  sided = (side) => side && keepScrolled(side, [["down", "scrollTop", 1]]);

  hover = (key) => {
    if (this.lit === (key ?? "")) return;
    this.lit = key ?? "";
    this.setState({});
  };

  render() {
    const dark = state.theme ? state.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    if (!this.cursor) return this.failure ? html`<p class="empty failure" role="alert">${text(this.failure)}<br />It is asked again every few seconds.</p>` : html`<p class="empty">Reading the store …</p>`;
    const { unbrushed, shown, columns, settings, chosen, picked, spans, baseline } = this.derived();
    this.shown = settings;
    const paint = dark ? paintDark : paintLight;
    return html`<div class=${`page view-${state.view}`}>
      ${this.head(shown, dark)}
      <main style=${{ "--split": `${state.split}%` }}>
        <section class="runs" aria-label="all runs">
          ${this.bar(shown, settings, chosen)}
          ${shown.length
            ? html`<${Table} rows=${this.rows(settings)} columns=${columns} ranges=${spans} chosen=${chosen} all=${() => shown.map((run) => run.id)}
                lit=${this.lit} hover=${this.hover} paint=${paint} base=${baseline} />`
            : nothing()}
        </section>
        <div class="split" role="separator" aria-label="width of the table" aria-orientation="vertical" aria-valuenow=${Math.round(state.split)} tabindex="0"
          onPointerDown=${(e) => e.target.setPointerCapture(e.pointerId)}
          onPointerMove=${(e) => e.target.hasPointerCapture(e.pointerId) && widen((100 * e.clientX) / innerWidth)}
          onKeyDown=${(e) => { const by = { ArrowLeft: -4, ArrowRight: 4 }[e.key]; if (by) widen(state.split + by); }}></div>
        <section class="side" aria-label="details" ref=${this.sided}>${this.side(picked, chosen, paint, dark, unbrushed)}</section>
      </main>
      ${state.above === "columns" ? html`<${Chooser} every=${this.every()} shown=${columns} usual=${this.derived().usual} />` : state.above && html`<${Help} />`}
    </div>`;
  }

  /** What was made of the same things before, else what is made now. */
  keep(name, of, make) {
    const there = this.kept[name];
    if (there && there.of.every((one, i) => one === of[i])) return there.made;
    this.kept[name] = { of, made: make() };
    return this.kept[name].made;
  }

  /** What follows from the runs and the state; to point at a line changes nothing of it. */
  derived() {
    const { project, apart, all, brush, parts, sort, sel, q } = state;
    this.find(q);
    const base = this.keep("base", [this.marks, project, this.foundAt, apart, all, String(parts), String(brush), brushes], () => {
      const unbrushed = runs.visible(state, this.found);
      const shown = brush.length ? this.brushed(unbrushed, brush) : unbrushed;
      return { unbrushed, shown, usual: runs.columns(shown, all, apart, parts), unsorted: runs.settings(shown, apart) };
    });
    const { columns, spans } = this.keep("columns", [base, String([state.show, state.hide, state.pin])], () => {
      const columns = chosenColumns(base.usual, state.show.length ? this.every(base.shown) : []);
      return { columns, spans: ranges(base.shown, columns) };
    });
    const baseline = runs.byId.get(state.base) ?? null;
    const settings = this.keep("settings", [base, columns, sort, baseline], () => {
      const all = runs.sorted(base.unsorted, sort, columns);
      const first = all.findIndex((setting) => setting.runs.includes(baseline));
      return first > 0 ? [all[first], ...all.slice(0, first), ...all.slice(first + 1)] : all;
    });
    const choice = this.keep("choice", [base, sel], () => {
      const chosen = new Set(sel.filter((id) => runs.byId.has(id)));
      const picked = chosen.size ? base.shown.filter((run) => chosen.has(run.id)) : base.shown;
      return { chosen, picked, drawn: drawn(picked) };
    });
    return { ...base, ...choice, settings, columns, spans, baseline };
  }

  /** The runs inside brushes; all until what knows these is here. */
  brushed(unbrushed, brush) {
    if (brushes) return brushes.brushed(unbrushed, brush);
    import("./brushes.js").then((found) => ((brushes = found), this.setState({})));
    return unbrushed;
  }

  /** All columns that could be shown. */
  every(shown = this.derived().shown) {
    return this.keep("every", [shown], () => runs.columns(shown, true, true, ["last", "min", "max"]));
  }

  /** Ask which runs a filter means, once it is written; until then those of before are shown. */
  find(q) {
    const asked = q.trim() ? `${this.marks} ${q}` : "";
    if (asked === this.asked) return;
    this.asked = asked;
    clearTimeout(this.finding);
    this.finding = setTimeout(async () => {
      let [found, wrong] = [null, ""];
      try {
        if (asked) found = new Set(await fetchFound(q));
      } catch (error) {
        wrong = error.message;
      }
      if (asked !== this.asked) return;
      [this.found, this.wrong, this.foundAt] = [wrong ? this.found : found, wrong, this.foundAt + 1];
      this.setState({});
    }, asked ? 200 : 0);
  }

  head(shown, dark) {
    const projects = this.keep("projects", [runs.list], () => [...new Set(runs.list.map((run) => run.project ?? ""))]);
    const running = this.keep("running", [shown], () => shown.filter((run) => runs.kind(run) === "running").length);
    return html`<header class="top">
      <img src="icon.svg" alt="" width="22" height="22" /><b>track</b><span class="store" title=${text(this.store)}>${text(this.store)}</span>
      ${projects.length > 1 && html`<select aria-label="project" onChange=${(e) => set({ project: e.target.value, sel: [] }, true)}>
        <option value="" selected=${!state.project}>all projects</option>
        ${projects.filter(Boolean).map((name) => html`<option key=${name} value=${name} selected=${name === state.project}>${text(name)}</option>`)}</select>`}
      <input id="filter" type="search" aria-label="filter" placeholder="filter: lr<0.1 status:failed words" aria-invalid=${this.wrong ? "true" : null} value=${state.q} onInput=${(e) => set({ q: e.target.value })} />
      ${this.wrong && html`<span class="wrong" role="alert" title=${text(this.wrong)}>${text(this.wrong)}</span>`}
      <span class="grow"></span>
      ${this.failure ? "" : this.still ? html`<span class="still" title=${text(this.still[1])}>${text(this.still[0])}</span>`
        : html`<span class=${`live ${running ? "on" : ""}`}>${running ? `${running} running` : "up to date"}</span>`}
      <button class="quiet" aria-label="table, charts or both" title="table, charts or both (v)" onClick=${nextView}>◫</button>
      <button class="quiet" aria-label=${dark ? "light colours" : "dark colours"} title="dark or light (d)" onClick=${() => set({ theme: dark ? "light" : "dark" })}>${dark ? "☀" : "☾"}</button>
      <button class="quiet" aria-label="keys" title="keys (?)" onClick=${() => lay("keys")}>?</button>
    </header>
    ${this.failure && html`<p class="live failed" role="alert">${text(this.failure)} · What is here was read before, and is asked for again every few seconds.</p>`}`;
  }

  bar(shown, settings, chosen) {
    const gone = state.sel.length - chosen.size;
    const seeds = state.apart || settings.length < shown.length;
    return html`<div class="controls"><b>${shown.length === runs.list.length ? shown.length : `${shown.length} of ${runs.list.length}`} ${runs.list.length === 1 ? "run" : "runs"}</b>
      ${this.more && html`<span role="status">the latest: others are on their way …</span>`}
      ${settings.length < shown.length && html`<span>${settings.length} settings</span>`}
      ${state.brush.length > 0 && html`<button class="chip" onClick=${() => set({ brush: [] }, true)}>brushed ×</button>`}
      ${chosen.size > 0 && html`<button class="chip" onClick=${() => set({ sel: [] })}>${chosen.size} chosen ×</button>`} ${gone > 0 && html`<button class="chip" onClick=${() => set({ sel: [...chosen] })}>${gone} chosen before: not in this store ×</button>`}
      ${state.base && html`<button class="chip" onClick=${() => set({ base: "" })}>${runs.byId.has(state.base) ? "baseline" : "the baseline is not in this store"} ×</button>`}
      <span class="grow"></span>
      <button class="chip" aria-expanded=${state.above === "columns"} onClick=${() => lay("columns")}>columns</button>
      ${seeds && html`<label class="toggle"><input type="checkbox" checked=${!state.apart} onChange=${() => set({ apart: !state.apart })} />seeds together</label>`}
      <span class="parts" role="group" aria-label="of each metric">${["last", "min", "max"].map((part) => html`<button key=${part} aria-pressed=${state.parts.includes(part)} onClick=${() => showPart(part)}>${part}</button>`)}</span>
      <label class="toggle"><input type="checkbox" checked=${state.all} onChange=${() => set({ all: !state.all })} />also equal columns</label></div>`;
  }

  rows(settings) {
    return this.keep("rows", [settings, String(state.opened)], () => settings.flatMap((setting) => {
      if (setting.runs.length === 1) return [{ setting, run: setting.runs[0], depth: 0 }];
      const members = state.opened.includes(setting.id) ? setting.runs.map((run) => ({ setting, run, depth: 1 })) : [];
      return [{ setting, run: null, depth: 0 }, ...members];
    }));
  }

  side(picked, chosen, paint, dark, unbrushed) {
    const open = runs.byId.get(state.open);
    const { tab } = state;
    const button = (name, label, there) => there &&
      html`<button key=${name} role="tab" aria-selected=${tab === name} onClick=${() => set({ tab: name }, true)}>${label}</button>`;
    return html`<nav class="tabs" role="tablist" aria-label="details">${button("charts", `charts of ${picked.length === 1 ? "1 run" : `${picked.length} runs`}`, true)}
        ${button("parameters", "parameters", runs.list.length > 1)} ${button("scatter", "scatter", runs.list.length > 1)}
        ${button("compare", `compare ${chosen.size}`, chosen.size > 1 || tab === "compare")} ${button("run", text(open?.name || "run"), open || tab === "run")}</nav>
      ${this.more && !open ? html`<p class="empty">Reading the other runs …</p>`
        : tab === "run" && !open ? html`<p class="empty">${state.open ? `This store has no run ${text(state.open)}: it was removed, or the link is of another store.` : "Click the name of a run: all that is known of it is then here."}</p>`
        : tab === "compare" && (chosen.size < 2 || picked.length < 2) ? html`<p class="empty">Choose two runs or more in the table: what differs between them is then here.</p>`
        : tab === "run" ? html`<${RunPage} key=${open?.uid} run=${open} mark=${open.mark} />`
        : tab === "parameters" ? html`<${Parallel} all=${unbrushed} runs=${picked} dark=${dark} />`
        : tab === "scatter" ? html`<${Scatter} runs=${picked} paint=${paint} />`
        : tab === "compare" ? html`<${Compare} runs=${picked} paint=${paint} />` : this.charts(picked, paint, dark)}`;
  }

  charts(picked, paint, dark) {
    const { metrics, settings, charts, different, left } = this.derived().drawn;
    if (!metrics.length) return html`<p class="empty">${picked.length ? "These runs have no metrics yet: trial.log_metrics(loss=0.1) begins a chart here." : "Without runs there are no charts."}</p>`;
    const some = metrics.includes(state.only) ? [state.only] : metrics;
    const height = some.length === 1 ? Math.max(280, Math.min(620, innerHeight - 220)) : 240;
    const several = settings.some((setting) => setting.runs.length > 1);
    const grid = (names) => html`<div class=${`charts ${some.length === 1 ? "one" : ""}`}>${names.map((metric) => {
      const [having, marks] = charts(metric);
      return html`<${Chart} key=${metric} metric=${metric} settings=${having} marks=${marks} paint=${paint} different=${different} lit=${this.lit} hover=${this.hover} theme=${dark} height=${height} />`;
    })}</div>`;
    return html`<${Controls} metrics=${metrics} several=${several} />
      ${left > 0 && html`<p class="left" role="status">The latest ${MOST_LINES} lines are drawn, ${left} are not: choose or filter runs.</p>`}
      ${grid(some.filter((metric) => some.length === 1 || !runs.isSystem(metric)))} ${some.length > 1 && some.some(runs.isSystem) && fold("system", false, "system", grid(some.filter(runs.isSystem)))}`;
  }
}

const EXAMPLE = 'with TrackClient("…").new_trial(parameters={"lr": 0.1}) as trial:\n    trial.log_metrics(loss=0.5)';

/** Why there is no row, and what to do. */
function nothing() {
  if (!runs.list.length) return html`<div class="empty">This store has no runs yet. They appear here as they begin:<pre>${EXAMPLE}</pre></div>`;
  const why = [state.project && `is of the project ${text(state.project)}`, state.q && `is meant by “${text(state.q)}”`, state.brush.length && "is inside the brushes"];
  return html`<p class="empty">No run matches. There are ${runs.list.length}, of which none ${why.filter(Boolean).join(" and ")}.<br />
    <button class="chip" onClick=${() => set({ project: "", q: "", brush: [] }, true)}>show all runs</button></p>`;
}

/** The columns that are shown: those that stay in sight first. @param {runs.Shown[]} usual @param {runs.Shown[]} every */
function chosenColumns(usual, every) {
  const { show, hide, pin } = state;
  const known = new Set(usual.map((one) => one.id));
  const shown = [...usual.filter((one) => !hide.includes(one.id)), ...every.filter((one) => show.includes(one.id) && !known.has(one.id))];
  const pinned = pin.flatMap((id) => shown.find((one) => one.id === id) ?? []);
  return [...pinned.map((one, place) => ({ ...one, pin: place })), ...shown.filter((one) => !pinned.includes(one))];
}

/** Lay something above the page, or take it away. @param {string} above */
const lay = (above) => set({ above: state.above === above ? "" : above });

/** Give the table another part of the width. */
const widen = (split) => set({ split: Math.round(Math.min(85, Math.max(15, split))) });

/** Show a part of each metric, or no longer; one of them is always there. */
function showPart(part) {
  const parts = ["last", "min", "max"].filter((one) => state.parts.includes(one) !== (one === part));
  if (parts.length) set({ parts });
}

/** What is drawn of runs: the metrics, the lines, and of a metric the lines that have it, with what tells new points.
 * @param {runs.Run[]} picked */
function drawn(picked) {
  const all = runs.settings(picked, state.apart);
  // The latest ones, where a chart would be all ink.
  const settings = all.slice(-MOST_LINES);
  const known = new Map();
  const charts = (metric) => {
    const there = known.get(metric);
    if (there) return there;
    const [count, ...others] = ["count", "last", "min", "max"].map((part) => runs.column("metrics", metric, part));
    const having = settings.filter((setting) => setting.runs.some((run) => count?.at(run.row)));
    const marks = having.flatMap((setting) => setting.runs.flatMap((run) => [count, ...others].map((one) => one?.at(run.row)))).join();
    known.set(metric, [having, marks]);
    return known.get(metric);
  };
  const different = runs.having(picked, "parameters").filter((column) => column.differs(picked)).map((column) => column.name);
  return { metrics: charted(picked), settings, charts, different, left: all.length - settings.length };
}

/** The least and greatest of each metric's column. */
const ranges = (shown, columns) => new Map(columns.filter((one) => one.kind === "metric").map((one) => [one.id, one.from.range(shown)]));

/** Twelve hues, each twice. */
function colours(dark) {
  return (colour) => {
    const hue = (colour % 12) * 30 + 15;
    const second = colour >= 12;
    const light = dark ? (second ? 0.84 : 0.7) : second ? 0.5 : 0.63;
    return `oklch(${light} ${second ? 0.14 : 0.18} ${hue})`;
  };
}

const [paintDark, paintLight] = [colours(true), colours(false)];
const place = document.getElementById("app");
place.replaceChildren();
render(html`<${App} />`, place);
