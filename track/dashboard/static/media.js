/** What runs have logged to be looked at: by name, at a step, side by side. */
import { ask } from "./api.js";
import { number, text } from "./format.js";
import { numbered, renumbered, set, state } from "./state.js";
import { Asking, html, watchSight } from "./view.js";

const READ = ["text", "table", "html"];
const address = (of) => `api/media?${new URLSearchParams(of)}`;
const order = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : 0);

export function Media({ runs, pages }) {
  const wanted = new Map(state.steps.map((one) => /** @type {[string, number]} */ (numbered(one, 1))));
  const names = [...new Set(pages.flatMap((page) => page?.media.map((one) => one.name) ?? []))];
  const left = pages.reduce((sum, page) => sum + (page?.left.media ?? 0), 0);
  return html`<div class="media">${left > 0 && html`<p class="left" role="status">These were logged last: ${number(left)} before them are not shown, trial.media(name) has them.</p>`}${names.map((name) => {
    const all = pages.map((page) => page?.media.filter((one) => one.name === name) ?? []);
    const steps = [...new Set(all.flat().map((one) => one.step))].sort(order);
    const last = steps.length - 1;
    const place = wanted.has(name) ? Math.max(0, steps.findLastIndex((step) => !(order(step, wanted.get(name)) > 0))) : last;
    const heat = all.flat()[0].kind === "histogram";
    return html`<section key=${name} aria-label=${`media ${text(name)}`}><header><b>${text(name)}</b>
      ${!heat && steps.length > 1 && html`<input type="range" min="0" max=${last} value=${place} aria-label=${`step of ${text(name)}`}
        onInput=${({ target }) => set({ steps: renumbered(state.steps, 1, name, Number(target.value) < last ? [steps[target.value]] : []) })} />`}
      ${!heat && steps[place] !== null && html`<small>step ${number(steps[place])}</small>`}</header>
      <div class="beside">${all.map((some, i) => {
        if (!some.length) return "";
        // A run that has nothing at a step shows what it had before.
        const one = some.findLast((other) => order(other.step, steps[place]) <= 0) ?? some[0];
        const { uid } = runs[i];
        return html`<figure key=${uid}>${runs.length > 1 && html`<small>${text(runs[i].name || runs[i].id)}</small>`}
          ${!(pages[i].serves || one.src || one.held) ? html`<small>not in this file: <code>track artifacts download</code> brings it</small>` : heat ? html`<${Heat} address=${address({ uid, name, mark: some.length })} />`
            : html`<${One} one=${one} file=${one.src ?? `api/file?${new URLSearchParams({ uid, digest: one.digest })}`} address=${READ.includes(one.kind) ? address({ uid, digest: one.digest, show: one.kind === "html" ? "page" : "" }) : ""} />`}
          <figcaption>${text(one.caption)}${one.step !== steps[place] && !heat && html` <small>(step ${number(one.step)})</small>`}</figcaption></figure>`;
      })}</div></section>`;
  })}</div>`;
}

/** What the server says at an address, which is read here. */
class Asked extends Asking {
  // What is in a file is shown at once: nobody is asked for it.
  known = new Map(); seen = Boolean(this.props.one?.src || this.props.one?.held); place = { current: /** @type {any} */ (null) };

  componentDidMount() {
    // Of a thousand names few are in sight: the others are asked for when they are.
    this.watch = watchSight(this.place.current, (isSeen) => { if (isSeen) { this.seen = true; this.setState({}); } });
  }

  componentWillUnmount() { this.watch.disconnect(); }

  render() {
    const { address, one } = this.props;
    const said = this.seen && address && one?.kind !== "html" ? this.once(this.known, address, async () => (await ask(address)).json()) : null;
    const inside = this.seen && this.inside(said, this.props);
    return html`<div ref=${this.place} class=${`${one ? "" : "heat"} ${this.seen ? "" : "unseen"}`}>${this.failure ? html`<p class="failure" role="alert">${text(this.failure)}</p>` : inside}</div>`;
  }

  /** @param {any} said @param {any} props @returns {any} */
  inside(said, props) {}
}

class One extends Asked {
  inside(said, { one, file, address }) {
    const name = text(one.name);
    return one.type.startsWith("image/") ? html`<img src=${file} alt=${`${name}, step ${number(one.step)}`} loading="lazy" />`
      : one.thumb ? html`<a href=${file} title="the whole figure, as JSON"><img src=${file.replace(one.digest, one.thumb)} alt=${`${name}, a sketch`} loading="lazy" /></a>`
      : one.kind === "audio" ? html`<audio key=${file} controls src=${file}></audio>`
      : one.kind === "video" ? html`<video key=${file} controls src=${file}></video>`
      : one.kind === "html" ? html`<iframe key=${file} sandbox="" title=${name} src=${address} srcdoc=${one.held?.page}></iframe>`
      : said?.columns ? html`<table class="plain"><thead><tr>${said.columns.map((column, i) => html`<th key=${i}>${text(column)}</th>`)}</tr></thead>
        <tbody>${said.rows.map((row, i) => html`<tr key=${i}>${row.map((cell, j) => html`<td key=${j} title=${text(cell)}>${text(cell)}</td>`)}</tr>`)}</tbody></table>
        ${said.left > 0 && html`<p>and ${said.left} more rows</p>`}`
      : said ? html`<pre tabindex="0">${String(said.text).split("\n").map(text).join("\n")}</pre>`
      : address ? "…" : html`<a class="link" href=${file}>${text(one.type)}</a>`;
  }
}

/** How values are spread, a column a step. */
class Heat extends Asked {
  inside(said) {
    const { low, high, steps } = said ?? {};
    return html`<small>${number(high)}</small><canvas ref=${(canvas) => canvas && said && spread(canvas, said)}></canvas><small>${number(low)}</small>
      ${steps && html`<small class="across"><span>${number(steps[0])}</span><span>${number(steps.at(-1))}</span></small>`}`;
  }
}

/** @param {HTMLCanvasElement} canvas @param {{rows: number[][], steps: number[]}} said */
function spread(canvas, { rows, steps }) {
  if (!rows.length) return;
  [canvas.width, canvas.height] = [steps.length, rows[0].length];
  const paint = canvas.getContext("2d");
  paint.fillStyle = getComputedStyle(canvas).color;
  rows.forEach((row, x) => row.forEach((part, y) => {
    paint.globalAlpha = (part / (Math.max(...row) || 1)) ** 0.6;
    paint.fillRect(x, row.length - 1 - y, 1, 1);
  }));
}
