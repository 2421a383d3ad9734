// One kind of picture for all: points in a plane, and what is drawn below them.
const CIRCLES = 4000; // at most; more points are counted by pixel
const BARS = 300; // points at most that show their intervals
const REACH = 24; // pixels within which a point is pointed at

/** @typedef {(i: number) => boolean} Choose @typedef {ArrayLike<number>} Values */
/** @typedef {{
 *   label: string, title?: string, xLabel: string, yLabel: string, xKind?: string, yKind?: string, aspect?: number,
 *   x: Values, y: Values, low?: Values, high?: Values, levels?: number[], marks?: number[], named?: number[],
 *   xNames?: string[], yNames?: string[], isBare?: boolean, legend?: string[][], colourOf?: (i: number) => string,
 *   hasDot?: Choose, hasBar?: Choose, lines: (i: number) => string[], enter?: (i: number) => void,
 *   under?: (pen: Pen, colours: Theme, right: (x: number) => number, up: (y: number) => number) => void,
 * }} Points: `isBare` points are on a sheet that is 1,000 wide, without axes. */

class PointPicture {
  places = new Float64Array();
  cursor = -1;
  box = { x: 0, y: 0, width: 1, height: 1 };
  /** @param {Points} points */
  constructor(points) {
    const lists = { xNames: [], yNames: [], levels: [], marks: [], low: [], high: [], legend: [], named: [] };
    const looks = { hasBar: () => true, hasDot: () => true, colourOf: () => "first" };
    this.points = { ...lists, ...looks, aspect: 0.55, xKind: "linear", yKind: "linear", ...points };
    const { x, y, xNames, yNames, levels, low, high, xKind, yKind, aspect } = this.points;
    const linear = (from, to) => ({ low: from, high: to, bend: 1, kind: "linear" });
    const fit = (names, heights, kind) => (names.length ? linear(-0.5, names.length - 0.5) : scaleOf(heights, kind));
    // Where a logarithmic band ends far below all lines, the lines matter.
    const least = yKind === "log" ? scaleOf([y], "log", 0).low / 3 : -Infinity;
    const heights = [y, levels, high, Array.from(low, (value) => Math.max(value, least))];
    const sheet = { x: linear(0, 1000), y: linear(1000 * aspect, 0) };
    this.whole = points.isBare ? sheet : { x: fit(xNames, [x], xKind), y: fit(yNames, heights, yKind) };
    this.scales = this.whole;
  }

  /** Find the room around what is drawn, and where the names of colours stand. @param {number} width */
  frame(width) {
    const { xNames, yNames, legend, title, isBare } = this.points;
    if (isBare) return { left: 0, top: 0, after: 0, below: 0, keys: [] };
    const left = Math.max(72, ...yNames.map((name) => 30 + 6.4 * Math.min(18, name.length)));
    const keys = legendOf(legend, width - left - 12);
    const top = (title ? 28 : 14) + (keys.length ? keys[keys.length - 1].y + 18 : 0);
    return { left, top, after: 12, below: 46 + roomOf(xNames, width - left - 12), keys };
  }
  height(width) {
    const { isBare, yNames, aspect } = this.points;
    const { top, below } = this.frame(width);
    const free = isBare ? width * aspect : Math.min(350, Math.max(200, width * aspect - 74));
    return top + below + (yNames.length ? Math.min(560, Math.max(100, 17 * yNames.length)) : free);
  }
  /** @param {Pen} pen @param {number} width @param {number} height @param {Theme} colours */
  draw(pen, width, height, colours) {
    const { x, y, isBare, levels, marks, under } = this.points;
    const { left, top, after, below, keys } = this.frame(width);
    const [wide, high] = [width - left - after, height - top - below];
    this.box = { x: left, y: top, width: wide, height: high };
    const [along, across] = [partOf(this.scales.x), partOf(this.scales.y)];
    const right = (/** @type {number} */ value) => left + wide * along(value);
    const up = (/** @type {number} */ value) => top + high * (1 - across(value));
    this.places = Float64Array.from({ length: 2 * y.length }, (_, k) => (k % 2 ? up(y[k >> 1]) : right(x[k >> 1])));
    if (!isBare) drawAxes(pen, this.box, colours, { ...this.points, ...this.scales });
    pen.clip(this.box, () => {
      const zero = this.scales.y.low < 0 && this.scales.y.high > 0 && !isBare ? [0] : [];
      for (const level of [...levels, ...zero])
        pen.path([left, up(level), left + wide, up(level)], { stroke: colours.soft, dash: level !== 0 });
      for (const mark of marks) pen.path([right(mark), top, right(mark), top + high], { stroke: colours.star });
      under?.(pen, colours, right, up);
      this.drawPoints(pen, colours, up);
    });
    for (const { text, colour, x: away, y: down } of keys) {
      const at = [left + away, top - keys[keys.length - 1].y - 10 + down];
      pen.dots(at, 4, { fill: colours[colour] ?? colour });
      pen.text(text, at[0] + 9, at[1] + 4, { size: 11, fill: colours.ink });
    }
  }
  /** @param {Pen} pen @param {Theme} colours @param {(y: number) => number} up */
  drawPoints(pen, colours, up) {
    const { low, high, named, hasBar, hasDot, colourOf } = this.points;
    const [at, { x: left, width }] = [this.places, this.box];
    const seen = [...at.keys()].filter((i) => 2 * i < at.length && this.sees(i));
    for (const i of seen.length > BARS ? [] : seen.filter(hasBar)) {
      const stroke = colours[colourOf(i)] ?? colourOf(i);
      pen.path([at[2 * i], up(low[i]), at[2 * i], up(high[i])], { stroke });
    }
    if (seen.length > CIRCLES) pen.node("image", density(at, seen, this.box, colours.first));
    const groups = {};
    const dotted = seen.length > CIRCLES ? [] : seen.filter(hasDot);
    for (const i of dotted) (groups[colourOf(i)] ??= []).push(at[2 * i], at[2 * i + 1]);
    const look = (name) => ({ fill: colours[name] ?? name, alpha: 0.8 });
    for (const [name, flat] of Object.entries(groups)) pen.dots(flat, seen.length < 400 ? 3.2 : 2, look(name));
    for (const i of named.filter((each) => this.sees(each))) {
      const [x, y, isLate] = [at[2 * i], at[2 * i + 1], at[2 * i] > left + width - 60];
      pen.dots([x, y], 3.6, { fill: colours.star });
      const letters = { size: 11, fill: colours.ink };
      pen.text(String(i), isLate ? x - 7 : x + 7, y + 4, isLate ? { ...letters, align: "end" } : letters);
    }
  }

  sees(i) {
    const [x, y, { width, height }] = [this.places[2 * i] - this.box.x, this.places[2 * i + 1] - this.box.y, this.box];
    return x >= 0 && x <= width && y >= 0 && y <= height;
  }
  /** @param {number} i @returns {Spot | null} */
  spot(i) {
    if (i < 0) return null;
    this.cursor = i;
    const [x, y, { lines, enter }] = [this.places[2 * i], this.places[2 * i + 1], this.points];
    return { x, y, lines: lines(i), enter: () => enter?.(i) };
  }
  /** Find the nearest point. @param {number} x @param {number} y */
  at(x, y) {
    let [nearest, found] = [((this.points.yNames.length || this.points.isBare ? 3 : 1) * REACH) ** 2, -1];
    for (let i = 0; 2 * i < this.places.length; i++) {
      const distance = (this.places[2 * i] - x) ** 2 + (this.places[2 * i + 1] - y) ** 2;
      if (distance < nearest && this.sees(i)) [nearest, found] = [distance, i];
    }
    return this.spot(found);
  }
  /** Go to the next point, or to the next one above or below. @param {number} right @param {number} up */
  move(right, up) {
    const { y, xNames, yNames, isBare } = this.points;
    const count = y.length;
    if (right || yNames.length) return this.spot((this.cursor + right + up * xNames.length + count) % count);
    const order = Array.from(y, (_, i) => i).sort((a, b) => (isBare ? y[b] - y[a] : y[a] - y[b]));
    return this.spot(order[(order.indexOf(this.cursor) + up + count) % count]);
  }
  /** Show so many times as much, or all. @param {number | null} times @param {Spot | null} spot in the middle */
  zoom(times, spot) {
    const { x, y, width, height } = this.box;
    const end = (scale, middle, sign) => valueAt(scale, middle + (sign * 0.5) / (times ?? 1));
    const ends = (scale, middle) => ({ ...scale, low: end(scale, middle, -1), high: end(scale, middle, 1) });
    const [along, across] = spot ? [(spot.x - x) / width, 1 - (spot.y - y) / height] : [0.5, 0.5];
    this.scales = times ? { x: ends(this.scales.x, along), y: ends(this.scales.y, across) } : this.whole;
  }
}

/** Count points by pixel; the darker, the more. @param {Float64Array} places @param {number[]} seen @param {Box} box */
function density(places, seen, box, colour) {
  const [width, height] = [Math.ceil(box.width) + 1, Math.ceil(box.height) + 1];
  const counts = new Uint32Array(width * height);
  for (const i of seen) counts[Math.floor(places[2 * i + 1] - box.y) * width + Math.floor(places[2 * i] - box.x)]++;
  const most = Math.log(counts.reduce((a, b) => Math.max(a, b), 1) + 1);
  const sheet = element("canvas", { width: String(width), height: String(height) });
  const image = new ImageData(width, height);
  const rgb = [1, 3, 5].map((from) => Number.parseInt(colour.slice(from, from + 2), 16));
  counts.forEach((here, i) => here && image.data.set([...rgb, 110 + (145 * Math.log(here + 1)) / most], 4 * i));
  sheet.getContext("2d")?.putImageData(image, 0, 0);
  return { x: box.x, y: box.y, width, height, href: sheet.toDataURL() };
}
