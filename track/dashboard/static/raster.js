/** Hundreds of lines as pixels: a stroke of each would take a canvas longer than anybody waits for. */

/** @type {Map<string, number>} colours as a pixel has them */
const known = new Map();
/** @type {any} */ let probe = null;

/** @param {string} colour @returns {number} */
function pixelOf(colour) {
  const there = known.get(colour);
  if (there !== undefined) return there;
  probe ??= Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
  probe.fillStyle = colour;
  probe.fillRect(0, 0, 1, 1);
  const pixel = new Uint32Array(probe.getImageData(0, 0, 1, 1).data.buffer)[0];
  known.set(colour, pixel);
  return pixel;
}

/** A canvas with lines: each pixel from the least to the greatest, and joined to the one before.
 * @param {import("./plot.js").Line[]} lines @param {number} width @param {number} height
 * @param {(value: number) => number} across @param {(value: number) => number} down */
export function drawLines(lines, width, height, across, down) {
  // Column after column, as most is written down a column. The last line is on top: it is first, and what is painted
  // stays, with where the next free pixel may be. Of hundreds of lines that lie over one another each pixel is painted once.
  const columns = new Uint32Array(width * height), next = new Uint32Array(width * height + 1);
  for (let at = 0; at < next.length; at += 1) next[at] = at;
  /** @param {number} column @param {number} from @param {number} to @param {number} pixel */
  const fill = (column, from, to, pixel) => {
    if (column < 0 || column >= width || !(to >= 0) || !(from < height)) return;
    const start = column * height, end = start + Math.min(height, Math.round(to) + 1);
    for (let at = start + Math.max(0, Math.round(from)); at < end; at = next[at]) {
      if (next[at] !== at) next[at] = next[next[at]];
      else columns[at] = pixel, next[at] = at + 1;
    }
  };
  for (const line of lines.toReversed()) {
    const pixel = pixelOf(line.colour);
    const { x: places, low, high } = line;
    let [before, above, below] = [NaN, NaN, NaN];
    for (let i = 0; i < places.length; i += 1) {
      const column = Math.round(across(places[i])), steps = column - before;
      const [top, bottom] = [down(high[i]), down(low[i])];
      let middle = (above + below) / 2;
      // Between two places as well, so that a line has no holes however few they are.
      for (let one = Math.max(before + 1, 0); one <= column && one < width; one += 1) {
        const part = (one - before) / steps;
        const [from, to] = [above + (top - above) * part, below + (bottom - below) * part];
        fill(one, Math.min(from, middle), Math.max(to, middle), pixel);
        middle = (from + to) / 2;
      }
      if (!(steps > 0)) fill(column, steps === 0 ? Math.min(top, below) : top, steps === 0 ? Math.max(bottom, above) : bottom, pixel);
      [before, above, below] = [column, top, bottom];
    }
    if (places.length === 1) for (let by = -2; by <= 2; by += 1) fill(before + by, above - 2, below + 2, pixel);
  }
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const ctx = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = ctx.createImageData(width, height), pixels = new Uint32Array(image.data.buffer);
  for (let row = 0, at = 0; row < height; row += 1) for (let column = 0; column < width; column += 1, at += 1) pixels[at] = columns[column * height + row];
  ctx.putImageData(image, 0, 0);
  return canvas;
}
