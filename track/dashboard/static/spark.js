/** How runs go that are not at their end: a small curve each, of the first metric that has one. */
import { fetchChart } from "./api.js";
import { text } from "./format.js";
import { column, having, isOne } from "./runs.js";
import { Asking, html } from "./view.js";

const [WIDE, TALL, BUCKETS, MOST] = [64, 16, 24, 60];

/** @typedef {import("./runs.js").Run} Run */

/** What was last asked, and the curves by uid. */
let [asked, asking] = ["", Promise.resolve()];
/** @type {Map<string, string>} */ let paths = new Map();
let metric = "";

/** Ask for the curves of runs, all at once, unless those are there. @param {Run[]} runs */
async function refresh(runs) {
  const some = runs.slice(0, MOST);
  const name = having(some, "metrics", "count").map((one) => one.name).find((one) => !isOne(some, one));
  const count = name && column("metrics", name, "count");
  const key = [name, ...some.map((run) => `${run.uid} ${count ? count.at(run.row) : ""}`)].join();
  if (!name || key === asked) return asking;
  asked = key;
  asking = (async () => {
    const found = await fetchChart({ uids: some.map((run) => run.uid), metric: name, buckets: BUCKETS, x: "relative", start: null, end: null, smoothing: null });
    metric = name;
    paths = new Map(found.curves.map((curve) => [curve.uid, pathOf(curve)]));
  })();
  return asking;
}

/** @param {import("./api.js").Curve} curve */
function pathOf({ xs, mean }) {
  const finite = [...mean].filter(Number.isFinite);
  const [low, high] = [Math.min(...finite), Math.max(...finite)];
  const span = high - low || 1;
  return [...xs].map((x, i) => `${(x * (WIDE - 2) + 1).toFixed(1)},${(TALL - 2 - ((mean[i] - low) / span) * (TALL - 4)).toFixed(1)}`).join(" ");
}

export class Spark extends Asking {
  async refresh() {
    // The charts say what is wrong.
    await refresh(this.props.runs).catch(() => {});
    if (this.drawn !== (paths.get(this.props.run.uid) ?? "")) this.setState({});
  }

  drawn = "";

  render() {
    this.drawn = paths.get(this.props.run.uid) ?? "";
    return this.drawn && html`<svg class="spark" width=${WIDE} height=${TALL} role="img" aria-label=${`course of ${text(metric)}`}>
      <polyline points=${this.drawn} fill="none" stroke=${this.props.colour} stroke-width="1.4" /></svg>`;
  }
}
