/** Parallel coordinates: an axis a parameter that differs, and the metric that they are for. */
import { axesOf, marks, placeOn } from "./brushes.js";
import { text } from "./format.js";
import { numbered, renumbered, set, state } from "./state.js";
import { html, Painted } from "./view.js";

const [MOST, TALL] = [9, 380];

/** How much one number says about the order of another: Spearman's rank correlation. */
export function correlation(a, b) {
  const both = a.map((one, i) => [one, b[i]]).filter(([x, y]) => x !== null && y !== null);
  if (both.length < 3) return 0;
  const [x, y] = [0, 1].map((side) => ranks(both.map((pair) => (pair[side]))));
  const middle = (both.length - 1) / 2;
  let [top, left, right] = [0, 0, 0];
  x.forEach((one, i) => {
    top += (one - middle) * (y[i] - middle);
    left += (one - middle) ** 2;
    right += (y[i] - middle) ** 2;
  });
  return left && right ? top / Math.sqrt(left * right) : 0;
}

function ranks(values) {
  const order = values.map((_, i) => i).sort((a, b) => values[a] - values[b]);
  const found = new Array(values.length);
  for (let i = 0; i < order.length; ) {
    let end = i;
    while (end < order.length && values[order[end]] === values[order[i]]) end += 1;
    for (let k = i; k < end; k += 1) found[order[k]] = (i + end - 1) / 2;
    i = end;
  }
  return found;
}

export class Parallel extends Painted {
  drag = null; known = null; painted = null; from = null; forMetric = "";

  /** The axes, the metric last; those that say most about it beside it. */
  axes() {
    if (this.from !== this.props.all || this.forMetric !== state.target) this.known = this.make();
    [this.from, this.forMetric] = [this.props.all, state.target];
    return this.known;
  }

  make() {
    const all = axesOf(this.props.all);
    const metrics = all.filter((one) => one.id.startsWith("metrics."));
    const target = metrics.find((one) => one.name === state.target) ?? metrics[0];
    const places = target ? this.props.all.map((run) => placeOn(target, run)) : [];
    const parameters = all.filter((one) => !one.id.startsWith("metrics.")).map((one) => {
      const says = target ? correlation(this.props.all.map((run) => placeOn(one, run)), places) : 0;
      return { ...one, says: one.values && one.values.length > 2 ? null : says };
    });
    const kept = parameters.sort((a, b) => Math.abs(a.says ?? 0) - Math.abs(b.says ?? 0)).slice(-MOST);
    return { axes: target ? [...kept, { ...target, says: null }] : kept, metrics, target };
  }

  paint() {
    const canvas = this.place.current;
    const { axes, target } = this.axes();
    const [width, height] = [canvas.clientWidth, TALL];
    const of = [axes, this.props.runs, this.props.dark, width];
    if (this.painted?.every((one, i) => one === of[i])) return;
    this.painted = of;
    const ctx = this.sheet(height);
    const faint = getComputedStyle(canvas).getPropertyValue("--line");
    const inside = new Set(this.props.runs);
    const step = width / Math.max(1, axes.length);
    const draw = (run, colour, alpha) => {
      ctx.strokeStyle = colour;
      ctx.globalAlpha = alpha;
      ctx.beginPath();
      axes.forEach((one, i) => {
        const at = placeOn(one, run);
        if (at !== null) ctx.lineTo(step * (i + 0.5), 8 + (height - 16) * (1 - at));
      });
      ctx.stroke();
    };
    ctx.lineWidth = 1.3;
    for (const run of this.props.all) if (!inside.has(run)) draw(run, faint, 1);
    const alpha = Math.max(0.25, Math.min(0.9, 60 / Math.max(1, inside.size)));
    for (const run of inside) draw(run, shade(target ? placeOn(target, run) : null, this.props.dark), alpha);
  }

  at = (id, event) => {
    const box = event.currentTarget.getBoundingClientRect();
    const place = Math.min(1, Math.max(0, 1 - (event.clientY - box.top - 8) / (box.height - 16)));
    if (event.type === "pointerdown") {
      event.currentTarget.setPointerCapture(event.pointerId);
      this.drag = { id, from: place, to: place };
    } else if (!this.drag || this.drag.id !== id) return;
    else if (event.type === "pointermove") this.drag.to = place;
    else {
      const { from, to } = this.drag;
      this.drag = null;
      const ends = [Math.min(from, to).toFixed(3), Math.max(from, to).toFixed(3)];
      set({ brush: renumbered(state.brush, 2, id, Math.abs(from - to) > 0.02 ? ends : []) }, true);
      return;
    }
    this.setState({});
  };

  render() {
    const { axes, metrics, target } = this.axes();
    /** @type {Map<string, number[]>} */
    const brushes = new Map(state.brush.map((one) => numbered(one, 2)).map(([id, ...ends]) => [id, ends]));
    if (this.drag) brushes.set(this.drag.id, [this.drag.from, this.drag.to].sort((a, b) => a - b));
    return html`<div class="controls"><label>for <select aria-label="metric that parameters are for" onChange=${(e) => set({ target: e.target.value })}>
        ${metrics.map((one) => html`<option key=${one.id} value=${one.name} selected=${one === target}>${text(one.name)}</option>`)}</select></label>
        <span>drag along an axis to filter</span>${state.brush.length > 0 && html`<button class="chip" onClick=${() => set({ brush: [] }, true)}>${this.props.runs.length} of ${this.props.all.length} runs ×</button>`}</div>
      <figure class="parallel" aria-label="parallel coordinates"><canvas ref=${this.place} style=${{ height: `${TALL}px` }}></canvas>
        <div class="axes">${axes.map((one) => {
          const brush = brushes.get(one.id);
          return html`<div key=${one.id} class="axis"><b title=${text(one.name)}>${text(one.name)}</b>
            <small title="rank correlation with the metric">${typeof one.says === "number" ? `ρ ${one.says.toFixed(2)}` : ""}</small>
            <div class="rail" style=${{ height: `${TALL}px` }} onPointerDown=${(e) => this.at(one.id, e)} onPointerMove=${(e) => this.at(one.id, e)} onPointerUp=${(e) => this.at(one.id, e)}>
              ${marks(one, [0, 0.5, 1]).map(({ at, label }) => html`<span key=${at} style=${{ top: `${8 + (TALL - 16) * (1 - at)}px` }}>${label}</span>`)}${brush && html`<i class="brush" style=${{ top: `${8 + (TALL - 16) * (1 - brush[1])}px`, height: `${(TALL - 16) * (brush[1] - brush[0])}px` }}></i>`}</div></div>`;
        })}</div></figure>
      ${axes.length < 2 && html`<p class="empty">These runs do not differ in a parameter, so that none can matter: parameters={"lr": 0.1} are given where a run begins.</p>`}`;
  }
}

/** From blue for the least to orange for the greatest. */
const shade = (at, dark) => (at === null ? "#888" : `oklch(${dark ? 0.76 : 0.6} 0.16 ${(260 + 165 * at) % 360})`);
