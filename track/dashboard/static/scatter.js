/** A point a run, in two of its columns. */
import { axesOf, marks, placeOn } from "./brushes.js";
import { number, text } from "./format.js";
import { set, state } from "./state.js";
import { html, Painted } from "./view.js";

const [TALL, NEAR, LEFT, RIGHT, TOP, BOTTOM] = [420, 14, 64, 28, 14, 34];
const QUARTERS = [0, 0.25, 0.5, 0.75, 1];

export class Scatter extends Painted {
  known = null; from = null; over = null;

  /** All axes, and the two that are meant: unless something is chosen, the first parameter and the first metric. */
  axes() {
    if (this.from !== this.props.runs) [this.known, this.from] = [axesOf(this.props.runs), this.props.runs];
    const all = this.known;
    const [parameters, metrics] = [false, true].map((is) => all.filter((one) => one.id.startsWith("metrics.") === is));
    const x = all.find((one) => one.id === state.sx) ?? parameters[0] ?? metrics[0];
    return { all, x, y: all.find((one) => one.id === state.sy) ?? metrics.find((one) => one !== x) ?? x };
  }

  /** Where runs are, in pixels. */
  points() {
    const { x, y } = this.axes();
    const width = this.place.current?.clientWidth ?? 0;
    if (!x || !y) return [];
    return this.props.runs.flatMap((run) => {
      const [across, up] = [placeOn(x, run), placeOn(y, run)];
      if (across === null || up === null) return [];
      return [{ run, left: LEFT + across * (width - LEFT - RIGHT), top: TALL - BOTTOM - up * (TALL - TOP - BOTTOM) }];
    });
  }

  paint() {
    const canvas = this.place.current;
    const { x, y } = this.axes();
    if (!canvas || !x) return;
    const ctx = this.sheet(TALL);
    const style = getComputedStyle(canvas);
    ctx.font = `11px ${style.getPropertyValue("--font")}`;
    ctx.strokeStyle = style.getPropertyValue("--line");
    ctx.fillStyle = style.getPropertyValue("--faint");
    const [width, height] = [canvas.clientWidth - LEFT - RIGHT, TALL - TOP - BOTTOM];
    ctx.textAlign = "center";
    for (const { at, label } of marks(x, QUARTERS)) {
      ctx.strokeRect(LEFT + at * width, TOP, 0, height);
      ctx.fillText(label.slice(0, 14), LEFT + at * width, TALL - BOTTOM + 16, 90);
    }
    ctx.textAlign = "right";
    for (const { at, label } of marks(y, QUARTERS)) {
      ctx.strokeRect(LEFT, TOP + (1 - at) * height, width, 0);
      ctx.fillText(label.slice(0, 14), LEFT - 6, TOP + (1 - at) * height + 4, LEFT - 10);
    }
    const points = this.points();
    ctx.globalAlpha = Math.max(0.35, Math.min(0.9, 400 / Math.max(1, points.length)));
    for (const { run, left, top } of points) {
      ctx.fillStyle = this.props.paint(run.colour);
      ctx.beginPath();
      ctx.arc(left, top, this.over?.run === run ? 7 : 4, 0, 7);
      ctx.fill();
    }
  }

  at = (event) => {
    const box = this.place.current.getBoundingClientRect();
    const [left, top] = [event.clientX - box.left, event.clientY - box.top];
    let [best, least] = [null, NEAR];
    for (const point of this.points()) {
      const away = Math.hypot(point.left - left, point.top - top);
      if (away < least) [best, least] = [point, away];
    }
    if (best?.run === this.over?.run) return;
    this.over = best;
    this.setState({});
  };

  render() {
    const [{ all, x, y }, { over }] = [this.axes(), this];
    const choice = (label, field, chosen) => html`<label>${label} <select aria-label=${`${label} of the points`} onChange=${(e) => set({ [field]: e.target.value })}>
      ${all.map((one) => html`<option key=${one.id} value=${one.id} selected=${one === chosen}>${text(one.name)}</option>`)}</select></label>`;
    return html`<div class="controls">${choice("x", "sx", x)} ${choice("y", "sy", y)}<span>${x?.log ? "log x" : ""} ${y?.log ? "log y" : ""}</span></div>
      <figure class="scatter" aria-label="scatter of runs"><canvas ref=${this.place} style=${{ height: `${TALL}px` }}
        onPointerMove=${this.at} onPointerLeave=${() => { this.over = null; this.setState({}); }} onClick=${() => over && set({ open: over.run.id, tab: "run" }, true)}></canvas>
        ${over && html`<div class="tip" style=${{ left: `${Math.min(over.left + 12, (this.place.current?.clientWidth ?? 400) - 180)}px`, top: `${over.top + 10}px` }}><b>${text(over.run.name || over.run.id)}</b>
          <span>${text(x.name)} ${number(x.of(over.run))}</span><span>${text(y.name)} ${number(y.of(over.run))}</span></div>`}</figure>
      ${!all.length && html`<p class="empty">These runs have neither metrics nor parameters that differ: there is nothing to lay them out by.</p>`}`;
  }
}
