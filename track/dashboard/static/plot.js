/** A chart: axes, zoom and cursor are uPlot's; the curves are painted here, with all their spikes. */
import { number } from "./format.js";

/** @typedef {import("./api.js").Numbers} Numbers */
/** @typedef {{key: string, label: string, detail: () => string, colour: string, x: Numbers, mean: Numbers, low: Numbers,
 *   high: Numbers, count: Numbers, marks: {x: number, kind: string, count: number}[], raw?: Line, runs: number,
 *   members?: Float64Array, isRange?: boolean}} Line */
/** @typedef {{lines: Line[], x: [number, number], y: [number, number], isTime: boolean, logx: boolean, logy: boolean,
 *   height: number, unit: string}} Picture */

/** More lines than that are drawn as pixels. */
export const MANY = 60;
const MARKS = { nan: new Path2D("M-.7-.7 .7 .7M-.7 .7 .7-.7"), plus_inf: new Path2D("M-.8 .6H.8L0-.8Z"), minus_inf: new Path2D("M-.8-.6H.8L0 .8Z") };
/** @type {any} what draws them, which comes when it is first needed */
let raster = null;
/** @type {any} what says what is under the cursor, which comes with the first move */
let hover = null;

/** The least and the greatest of what is drawn. */
export function extent(lines, log) {
  let [low, high] = [Infinity, -Infinity];
  const take = (values) => {
    for (const value of values) {
      if (!Number.isFinite(value) || (log && value <= 0)) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
  };
  for (const line of lines) for (const one of line.raw ? [line, line.raw] : [line]) [one.low, one.high].forEach(take);
  if (low > high) return log ? [1, 10] : [0, 1];
  if (log) return low === high ? [low / 2, high * 2] : [low / (high / low) ** 0.04, high * (high / low) ** 0.04];
  const room = (high - low) * 0.05 || Math.abs(high) * 0.1 || 1;
  return [low - room, high + room];
}

/** What may lie between two marks of an axis that is as long. @param {number} length */
const huge = (length) => [-1, 0, 1].flatMap((more) =>
  [1, 2, 5].map((digit) => Number(`${digit}e${Math.floor(Math.log10(length)) + more}`))).filter(Number.isFinite);

/** From values to pixels of the canvas; what a logarithm has no place for is at the lower end.
 * @param {[number, number]} range @param {boolean} log @param {number} from @param {number} by */
function scaler([low, high], log, from, by) {
  if (!log) return (value) => from + ((value - low) * by) / (high - low);
  const [first, span] = [Math.log(low), Math.log(high / low)];
  return (value) => (value > 0 ? from + ((Math.log(value) - first) * by) / span : from);
}

/** Where a logarithmic axis has marks: on round numbers, on even parts where it has none. @type {(...of: any[]) => number[]} */
function powers(_, __, low, high) {
  const found = [];
  for (let by = 10 ** Math.floor(Math.log10(low)); by <= high; by *= 10)
    for (let i = 1; i < 10; i += 1) found.push(Number((i * by).toPrecision(1)));
  const seen = found.filter((mark) => mark >= low && mark <= high);
  return seen.length > 2 ? seen : [0.1, 0.3, 0.5, 0.7, 0.9].map((part) => Number((low + part * (high - low)).toPrecision(4)));
}

/** The words at these marks: fewer where there are many. @param {any} _ @param {number[]} marks */
function someOf(_, marks) {
  const decades = Math.log10(marks[marks.length - 1] / marks[0]);
  const by = Math.max(1, Math.ceil(decades / 6));
  return marks.map((mark) => {
    const [first, power] = mark.toExponential().split("e");
    const isSaid = decades < 0.8 || (decades < 3 ? ["1", "2", "5"].includes(first) : first === "1" && Number(power) % by === 0);
    return isSaid ? number(mark) : "";
  });
}

export class Plot {
  constructor(place, told) {
    this.place = place;
    this.told = told;
    this.plot = this.picture = this.sheet = null;
    this.x = this.y = scaler([0, 1], false, 0, 1);
    this.lit = this.shape = "";
    this.tip = document.createElement("div");
    this.tip.className = "tip";
    this.tip.hidden = true;
  }

  /** Draw something else. */
  async show(picture, width) {
    this.picture = picture;
    if (picture.lines.length > MANY && !raster) raster = await import("./raster.js");
    if (this.picture !== picture || !this.place.isConnected) return;
    const style = getComputedStyle(document.documentElement);
    const shape = [picture.logx, picture.logy, picture.isTime, style.getPropertyValue("--line")].join();
    if (this.plot && shape === this.shape) {
      if (this.plot.width !== width || this.plot.height !== picture.height)
        this.plot.setSize({ width, height: picture.height });
      this.plot.setData([picture.x, picture.y]);
      return;
    }
    this.destroy();
    this.shape = shape;
    this.plot = new (/** @type {any} */ (window).uPlot)(this.options(width, style), [picture.x, picture.y], this.place);
    this.plot.over.append(this.tip);
    this.plot.over.addEventListener("mouseleave", () => this.point(null));
    // uPlot knows no steps between marks above 5e32.
    const [, axis] = this.plot.axes, usual = axis.incrs;
    axis.incrs = (_, __, low, high) => (high - low < 1e32 ? usual() : huge(high - low));
    this.plot.over.addEventListener("dblclick", () => this.told.zoom([]));
  }

  /** Make a line stand out. */
  light(key) {
    if (this.lit === key) return;
    this.lit = key;
    this.plot?.redraw(false);
  }

  destroy() {
    this.plot?.destroy();
    this.plot = null;
  }

  options(width, style) {
    const { picture } = this;
    const font = `11px ${style.getPropertyValue("--font")}`;
    const axis = { stroke: style.getPropertyValue("--faint"), font, ticks: { show: false },
      grid: { stroke: style.getPropertyValue("--line"), width: 1 } };
    const short = (_, marks) => marks.map((mark) => number(mark));
    const log = { splits: powers, filter: (_, marks) => marks, values: someOf };
    return {
      width,
      height: picture.height,
      padding: [10, 12, 0, 0],
      legend: { show: false },
      scales: {
        x: { time: picture.isTime, distr: picture.logx ? 3 : 1, range: () => this.picture?.x },
        y: { distr: picture.logy ? 3 : 1, range: () => this.picture?.y },
      },
      axes: [
        { ...axis, size: picture.isTime ? 40 : 26, gap: 3, ...(picture.isTime ? {} : picture.logx ? log : { values: short }) },
        { ...axis, size: 52, gap: 4, values: short, ...(picture.logy ? log : {}) },
      ],
      series: [{}, { show: true, paths: () => null, points: { show: false } }],
      cursor: { points: { show: false }, drag: { x: true, y: false, setScale: false }, y: false },
      hooks: {
        draw: [() => this.paint()],
        setCursor: [() => this.point(this.plot?.cursor)],
        setSelect: [() => this.select()],
      },
    };
  }

  select() {
    const { left, width } = this.plot.select;
    if (width < 4) return;
    const range = [this.plot.posToVal(left, "x"), this.plot.posToVal(left + width, "x")];
    this.plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.told.zoom(range);
  }

  paint() {
    const picture = this.picture;
    if (!picture || !this.plot) return;
    const { ctx, bbox } = this.plot;
    this.x = scaler(picture.x, picture.logx, bbox.left, bbox.width);
    this.y = scaler(picture.y, picture.logy, bbox.top + bbox.height, -bbox.height);
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.lineJoin = "round";
    const lit = this.lit ? picture.lines.filter((line) => line.key === this.lit) : [];
    const faded = lit.length ? 0.2 : 1;
    const many = picture.lines.length > MANY;
    // Means of seeds are stroked, and those of smoothing, over what was logged.
    const plain = many ? picture.lines.filter((line) => line.runs === 1).map((line) => line.raw ?? line) : [];
    if (plain.length) {
      ctx.globalAlpha = faded * (picture.lines.some((line) => line.raw) ? 0.35 : 1);
      ctx.drawImage(this.sheetOf(plain), bbox.left, bbox.top);
      ctx.globalAlpha = 1;
    }
    for (const line of picture.lines) if (!lit.includes(line)) this.draw(line, faded, many ? 1 : 1.6, many);
    for (const line of lit) this.draw(line, 1, 2.4, false);
    ctx.restore();
  }

  /** The many lines as an image, which is made once: to point at one of them changes nothing of it. @param {Line[]} lines */
  sheetOf(lines) {
    const { left, top, width, height } = this.plot.bbox;
    const of = [this.picture, left, top, width, height];
    if (!this.sheet?.of.every((one, i) => one === of[i]))
      this.sheet = { of, image: raster.drawLines(lines, Math.round(width), Math.round(height), (value) => (this.picture.logx && value <= 0 ? NaN : this.x(value) - left), (value) => this.y(value) - top) };
    return this.sheet.image;
  }

  draw(line, alpha, width, many) {
    const ctx = this.plot.ctx;
    ctx.strokeStyle = ctx.fillStyle = line.colour;
    if (!many || line.raw || line.runs > 1) {
      if (line.raw && !many) {
        this.band(line.raw, alpha * 0.7);
        this.curve(line.raw, alpha * 0.35, 1);
      } else if (!many) this.band(line, alpha);
      this.curve(line, alpha, width);
    }
    this.marks(line, alpha);
    ctx.globalAlpha = 1;
  }

  /** From the least to the greatest: where they differ, a line alone would hide it. */
  band(line, alpha) {
    const ctx = this.plot.ctx;
    let [some, first] = [false, this.picture.logx ? Math.max(0, line.x.findIndex((x) => x > 0)) : 0];
    ctx.beginPath();
    for (let i = first; i < line.x.length; i += 1) {
      some ||= line.low[i] < line.high[i];
      ctx.lineTo(this.x(line.x[i]), this.y(line.high[i]));
    }
    if (!some) return;
    for (let i = line.x.length - 1; i >= first; i -= 1) ctx.lineTo(this.x(line.x[i]), this.y(line.low[i]));
    ctx.closePath();
    ctx.globalAlpha = alpha * 0.16;
    ctx.fill();
    if (line.runs > 1) return;
    ctx.globalAlpha = alpha * 0.4;
    ctx.lineWidth = devicePixelRatio * 0.75;
    ctx.stroke();
  }

  curve(line, alpha, width) {
    const { picture, plot: { ctx } } = this;
    ctx.globalAlpha = alpha;
    ctx.lineWidth = width * devicePixelRatio;
    ctx.beginPath();
    let [drawn, lastX, lastY] = [0, 0, 0];
    for (let i = 0; i < line.x.length; i += 1) {
      const value = line.mean[i];
      if (!Number.isFinite(value) || (picture.logy && value <= 0) || (picture.logx && line.x[i] <= 0)) continue;
      [lastX, lastY] = [this.x(line.x[i]), this.y(value)];
      if (drawn) ctx.lineTo(lastX, lastY);
      else ctx.moveTo(lastX, lastY);
      drawn += 1;
    }
    ctx.stroke();
    if (drawn !== 1) return;
    ctx.beginPath();
    ctx.arc(lastX, lastY, 3 * devicePixelRatio, 0, 7);
    ctx.fill();
  }

  /** What is no number, on the rim: infinity above, the others below. */
  marks(line, alpha) {
    if (!line.marks.length) return;
    const { ctx, bbox } = this.plot;
    const size = 4 * devicePixelRatio;
    ctx.globalAlpha = alpha;
    ctx.lineWidth = 0.4;
    for (const { x, kind } of line.marks.filter((mark) => !this.picture.logx || mark.x > 0)) {
      ctx.save();
      ctx.translate(this.x(x), kind === "plus_inf" ? bbox.top + size : bbox.top + bbox.height - size);
      ctx.scale(size, size);
      ctx[kind === "nan" ? "stroke" : "fill"](MARKS[kind]);
      ctx.restore();
    }
  }

  /** Say what is under the cursor. */
  point(cursor) {
    if (hover) return hover.point(this, cursor);
    if (!(cursor?.left >= 0)) return;
    import("./hover.js").then((found) => {
      hover = found;
      this.point(cursor && this.plot?.cursor);
    });
  }
}
