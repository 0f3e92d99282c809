/** The charts of the chosen runs, one a metric, and what can be said about how they are drawn. */
import { fetchChart } from "./api.js";
import { number, text } from "./format.js";
import { linesOf } from "./lines.js";
import { extent, MANY, Plot } from "./plot.js";
import { isOne, names } from "./runs.js";
import { set, state } from "./state.js";
import { AGAIN, html, NEAR, Painted, watchSight } from "./view.js";

const AXES = [["step", "step"], ["offset", "relative step"], ["relative", "part of the run"], ["time", "seconds since start"], ["wall", "clock"]];
const BANDS = [["std", "± std"], ["stderr", "± stderr"], ["ci", "95 % interval"], ["range", "min–max"]];
const MOST_CELLS = 1_000_000;
const TALL = 240;

/** Which metrics have charts: those with more than a point. */
export function charted(runs) {
  const all = names(runs, "metrics");
  const several = all.filter((name) => !isOne(runs, name));
  return several.length ? several : all;
}

const known = new WeakMap();

/** The uids of settings, and a text that tells them from others. @param {import("./runs.js").Setting[]} settings */
function uidsOf(settings) {
  const uids = known.has(settings) ? [] : settings.flatMap((setting) => setting.runs.map((run) => run.uid));
  if (!known.has(settings)) known.set(settings, { uids, key: uids.join() });
  return known.get(settings);
}

/** One chart. It asks for what it shows when it is on the screen, and again when that is not what is there. */
export class Chart extends Painted {
  asking = null; asked = ""; failure = ""; seen = false; found = null; drawings = 0; again = 0;

  componentDidMount() {
    this.plot = new Plot(this.place.current, { zoom: (zoom) => set({ zoom }, true), hover: this.props.hover });
    this.watch = watchSight(this.place.current, (isSeen) => { this.seen = isSeen; this.paint(); });
    // What it shows is asked for before the rest of the page is drawn.
    this.seen = this.place.current.getBoundingClientRect().top < innerHeight + NEAR;
    super.componentDidMount();
  }

  componentDidUpdate() {
    super.componentDidUpdate();
    this.plot?.light(this.props.lit);
  }

  componentWillUnmount() {
    this.asking?.abort();
    clearTimeout(this.again);
    this.watch.disconnect();
    super.componentWillUnmount();
    this.plot?.destroy();
  }

  /** Ask for the buckets, unless what is there is what would come. */
  async paint() {
    const width = Math.floor(this.place.current?.clientWidth ?? 0);
    if (!this.seen || width < 60) return;
    const { settings, metric, marks, theme } = this.props;
    const { uids, key } = uidsOf(settings);
    const buckets = Math.max(2, Math.min(width - 64, Math.floor(MOST_CELLS / Math.max(1, uids.length)), uids.length > 200 ? 300 : 2000));
    const [start, end] = state.zoom.length && state.zoom[0] < state.zoom[1] ? state.zoom : [null, null];
    const smoothing = state.smooth || null;
    const rest = { metric, buckets, x: state.x, start, end, smoothing };
    const question = { uids, ...rest };
    if (uids.length > MANY) import("./raster.js");
    const asked = [JSON.stringify(rest), key, marks].join("\n");
    const drawn = JSON.stringify([state.logx, state.logy, state.band, state.apart, width, this.props.height, theme]);
    if (asked === this.asked && (drawn === this.drawn || !this.found)) return;
    this.drawn = drawn;
    if (asked !== this.asked) {
      this.asked = asked;
      this.asking?.abort();
      clearTimeout(this.again);
      const mine = (this.asking = new AbortController());
      try {
        const both = [fetchChart(question, mine.signal)];
        if (smoothing) both.push(fetchChart({ ...question, smoothing: null }, mine.signal));
        const [found, raw] = await Promise.all(both);
        if (mine !== this.asking) return;
        this.found = { found, raw: raw ?? null };
        if (this.failure) (this.failure = ""), this.setState({});
      } catch (error) {
        if (mine !== this.asking || mine.signal.aborted) return;
        this.failure = error.message;
        // Also where nothing changes any more.
        this.again = setTimeout(() => { this.asked = ""; this.paint(); }, AGAIN);
        this.setState({});
        return;
      }
    }
    this.draw();
  }

  async draw() {
    const { found, raw } = this.found;
    const { settings, paint, height } = this.props;
    const width = this.place.current?.clientWidth;
    if (!width) return;
    const lines = linesOf(settings, found, raw, paint, state.band, this.props.different, state.x === "wall");
    let [low, high] = [found.edges[0], found.edges[found.edges.length - 1]];
    const logx = state.logx && state.x !== "wall";
    if (logx && low <= 0) low = Math.min(...lines.flatMap((line) => [...line.x].find((x) => x > 0) ?? []), high);
    if (logx && !(low > 0)) [low, high] = [1, 10];
    if (low === high) [low, high] = logx ? [low / 2, high * 2] : [low - 0.5, high + 0.5];
    const unit = state.x === "step" ? "step" : state.x === "offset" ? "relative step" : state.x === "time" ? "after s" : state.x === "relative" ? "part" : state.x.slice(7);
    await this.plot?.show({ lines, x: [low, high], y: extent(lines, state.logy), isTime: state.x === "wall", logx,
      logy: state.logy, height: height ?? TALL, unit }, width);
    if (!this.place.current) return;
    this.plot?.light(this.props.lit);
    Object.assign(this.place.current.dataset, { drawn: String((this.drawings += 1)), end: String(high) });
    const densest = Math.max(0, ...(raw ?? found).curves.map((curve) => curve.densest));
    const strange = lines.flatMap((line) => line.marks).reduce((sum, mark) => sum + mark.count, 0);
    const unplaced = found.unplaced;
    const notes = [
      densest > 1 && `1 px = ${number(densest)} points`,
      strange > 0 && `${number(strange)} not finite`,
      lines.some((line) => (logx && line.x[0] <= 0) || (state.logy && line.low.some((value) => value <= 0))) && "≤ 0 has no place on a log axis",
      unplaced > 0 && `${number(unplaced)} points have no place here`,
    ].filter(Boolean).join(" · ");
    if (notes !== this.notes || !this.done) {
      this.notes = notes;
      this.done = true;
      this.setState({});
    }
  }

  render() {
    const { metric, height } = this.props;
    const large = state.only === metric;
    return html`<figure class=${`chart ${large ? "large" : ""}`} aria-label=${`chart of ${text(metric)}`}>
      <figcaption><b title=${text(metric)}>${text(metric)}</b><span class="note" title=${this.notes}>${this.done || this.failure ? this.notes : "reading …"}</span>
        <button class="quiet" title=${large ? "all charts" : "only this one, large"} aria-label=${`${large ? "show all charts" : "enlarge"} ${text(metric)}`}
          onClick=${() => set({ only: large ? "" : metric }, true)}>${large ? "⤡" : "⤢"}</button></figcaption>
      ${this.failure && html`<p class="failure" role="alert">${text(this.failure)}</p>`}
      <div class="plot" ref=${this.place} style=${{ height: `${height ?? TALL}px` }} data-done=${this.done ? "1" : null}></div>
    </figure>`;
  }
}

/** The line of controls above the charts. */
export function Controls({ metrics, several }) {
  const axes = [...AXES, ...metrics.map((name) => [`metric:${name}`, text(name)])];
  const box = (name, label) => html`<label class="toggle"><input type="checkbox" checked=${state[name]} onChange=${() => set({ [name]: !state[name] })} />${label}</label>`;
  return html`<div class="controls">
    <label>x <select aria-label="x axis" value=${state.x} onChange=${(e) => set({ x: e.target.value, zoom: [] }, true)}>
      ${axes.map(([value, label]) => html`<option key=${value} value=${value} selected=${value === state.x}>${label}</option>`)}</select></label>
    ${box("logx", "log x")} ${box("logy", "log y")}
    <label class="smooth">smooth <input type="range" aria-label="smoothing" min="0" max="0.99" step="0.01" value=${state.smooth}
      onInput=${(e) => set({ smooth: Number(e.target.value) })} /><output>${state.smooth ? state.smooth.toFixed(2) : "off"}</output></label>
    ${several && state.x !== "wall" && html`<label>band <select aria-label="band of seeds" value=${state.band} onChange=${(e) => set({ band: e.target.value })}>
      ${BANDS.map(([value, label]) => html`<option key=${value} value=${value} selected=${value === state.band}>${label}</option>`)}</select></label>`}
    ${state.zoom.length > 0 && html`<button class="chip" onClick=${() => set({ zoom: [] }, true)}>${number(state.zoom[0])} – ${number(state.zoom[1])} ×</button>`}
  </div>`;
}
