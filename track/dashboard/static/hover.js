/** What is under the cursor of a chart. */
import { number, spread, text } from "./format.js";
import { closest } from "./places.js";

const MARKS = { nan: "NaN", plus_inf: "∞", minus_inf: "−∞" };
const NEAR = 40;

/** Say it, and let its line stand out. @param {import("./plot.js").Plot} chart @param {any} cursor */
export function point(chart, cursor) {
  const found = cursor && cursor.left >= 0 ? nearest(chart, cursor.left, cursor.top) : null;
  chart.tip.hidden = !found;
  if (found) say(chart, found, cursor);
  const key = found ? found.line.key : "";
  if (key !== chart.lit) chart.told.hover(key || null);
}

function nearest(chart, left, top) {
  const x = chart.plot.posToVal(left, "x");
  let best = null;
  let least = NEAR;
  for (const line of chart.picture?.lines ?? []) {
    const i = closest(line.x, x);
    if (i < 0) continue;
    const across = Math.abs(chart.plot.valToPos(line.x[i], "x") - left);
    const distance = Math.hypot(Math.max(0, across - 8), chart.plot.valToPos(line.mean[i], "y") - top);
    if (distance < least) [best, least] = [{ line, i }, distance];
    for (const mark of line.marks) {
      const edge = mark.kind === "plus_inf" ? 4 : chart.plot.over.clientHeight - 4;
      const away = Math.hypot(chart.plot.valToPos(mark.x, "x") - left, edge - top);
      if (away < Math.min(least, 8)) [best, least] = [{ line, i, mark }, away];
    }
  }
  return best;
}

function say(chart, { line, i, mark }, cursor) {
  const { picture } = chart;
  const place = mark ? mark.x : line.x[i];
  const x = picture.isTime ? new Date(place * 1000).toLocaleString() : `${picture.unit} ${number(place)}`;
  const parts = [x, mark ? `${MARKS[mark.kind]} × ${mark.count}` : number(line.mean[i])];
  if (!mark && line.isRange) parts[1] += `, ${number(line.low[i])} to ${number(line.high[i])}, n = ${line.members[i]}`;
  else if (!mark && line.members) parts[1] += ` ± ${spread((line.high[i] - line.low[i]) / 2)}, n = ${line.members[i]}`;
  else if (!mark && line.count[i] > 1)
    parts.push(`${number(line.count[i])} points, ${number(line.low[i])} to ${number(line.high[i])}`);
  const detail = line.detail();
  if (detail) parts.push(text(detail));
  const name = document.createElement("b");
  name.textContent = text(line.label);
  name.style.color = line.colour;
  chart.tip.replaceChildren(name, ...parts.map((part) => Object.assign(document.createElement("span"), { textContent: part })));
  const isRight = cursor.left > chart.plot.over.clientWidth / 2;
  chart.tip.style.left = isRight ? "auto" : `${cursor.left + 14}px`;
  chart.tip.style.right = isRight ? `${chart.plot.over.clientWidth - cursor.left + 14}px` : "auto";
  chart.tip.style.top = `${Math.min(cursor.top + 10, chart.plot.over.clientHeight - 60)}px`;
}
