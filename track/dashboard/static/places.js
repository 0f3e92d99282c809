/** Where numbers are among others. */

/** Where the points of a bucket are drawn: on their step where it has room for one only.
 * @param {Float64Array} edges @param {number} at @param {boolean} isSteps */
export function placeOf(edges, at, isSteps) {
  const [from, to] = [edges[at], edges[at + 1]];
  const step = at === edges.length - 2 ? Math.floor(to) : Math.ceil(from);
  return isSteps && to - from <= 1 && step >= from && step <= to ? step : (from + to) / 2;
}

/** The index of the number closest to one, in a rising list; -1 in an empty one. @param {ArrayLike<number>} of @param {number} value */
export function closest(of, value) {
  let [low, high] = [0, of.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (of[middle] < value) low = middle;
    else high = middle;
  }
  return Math.abs(of[low] - value) <= Math.abs(of[high] - value) ? low : high;
}
