// One kind of picture for all: points in a plane, with what is drawn below them.

const CIRCLES = 4000; // at most; more points are counted by pixel
const BARS = 300; // points at most that show their intervals
const REACH = 24; // pixels within which a point is pointed at

/** @typedef {{
 *   label: string, title?: string, xLabel: string, yLabel: string, xKind?: string, yKind?: string,
 *   x: ArrayLike<number>, y: ArrayLike<number>, low?: ArrayLike<number>, high?: ArrayLike<number>, levels?: number[],
 *   xNames?: string[], yNames?: string[], aspect?: number, isBare?: boolean, legend?: string[][], named?: number[],
 *   colourOf?: (i: number) => string, hasBar?: (i: number) => boolean, hasDot?: (i: number) => boolean,
 *   lines: (i: number) => string[], enter?: (i: number) => void,
 *   under?: (pen: Pen, colours: Theme, right: (x: number) => number, up: (y: number) => number) => void,
 * }} Points: `isBare` points are in pixels of a sheet that is 1,000 wide, without axes. */

class PointPicture {
  /** @param {Points} points */
  constructor(points) {
    const { x, y, xNames = [], yNames = [], levels = [], low = [], high = [], xKind = "linear", yKind = "linear" } = points;
    const named = (/** @type {string[]} */ names) => ({ low: -0.5, high: names.length - 0.5, bend: 1, kind: "linear" });
    this.points = { ...points, xNames, yNames, levels, low, high };
    // Where a logarithmic band ends far below its line, the line matters.
    const heights = yKind === "log" ? [y, levels] : [y, levels, low, high];
    this.whole = { x: xNames.length ? named(xNames) : scaleOf([x], xKind), y: yNames.length ? named(yNames) : scaleOf(heights, yKind, 0.07) };
    if (points.isBare) this.whole = { x: { ...named([]), low: 0, high: 1000 }, y: { ...named([]), low: 1000 * this.aspect, high: 0 } };
    this.scales = this.whole;
    this.places = new Float64Array(2 * y.length);
    this.cursor = -1;
    this.box = { x: 0, y: 0, width: 1, height: 1 };
  }

  get aspect() {
    return this.points.aspect ?? 0.55;
  }

  /** @param {number} width */
  height(width) {
    const { isBare, xNames, yNames } = this.points;
    if (isBare) return width * this.aspect;
    return yNames.length ? 160 + Math.min(560, Math.max(100, 17 * yNames.length)) : Math.min(420, Math.max(270, width * this.aspect)) + (xNames.length ? 60 : 0);
  }

  /** @param {Pen} pen @param {number} width @param {number} height @param {Theme} colours */
  draw(pen, width, height, colours) {
    const { x, y, xNames, isBare } = this.points;
    this.box = isBare ? { x: 0, y: 0, width, height } : { x: 72, y: 28, width: width - 84, height: height - (xNames.length ? 152 : 74) };
    const { x: left, y: top, width: wide, height: high } = this.box;
    const [along, across] = [partOf(this.scales.x), partOf(this.scales.y)];
    const [right, up] = [(/** @type {number} */ value) => left + wide * along(value), (/** @type {number} */ value) => top + high * (1 - across(value))];
    this.places = Float64Array.from({ length: 2 * y.length }, (_, k) => (k % 2 ? up(y[k >> 1]) : right(x[k >> 1])));
    pen.box({ x: 0, y: 0, width, height }, colours.paper);
    if (!isBare) drawAxes(pen, this.box, colours, { ...this.points, ...this.scales });
    pen.clip(this.box, () => {
      const zero = this.scales.y.low < 0 && this.scales.y.high > 0 && !isBare ? [0] : [];
      for (const level of [...this.points.levels, ...zero]) pen.path([left, up(level), left + wide, up(level)], { stroke: colours.soft, dash: level !== 0 });
      this.points.under?.(pen, colours, right, up);
      this.drawPoints(pen, colours, up);
    });
    drawLegend(pen, this.box, colours, this.points.legend ?? []);
  }

  /** @param {Pen} pen @param {Theme} colours @param {(y: number) => number} up */
  drawPoints(pen, colours, up) {
    const { low, high, named = [], hasBar = (/** @type {number} */ i) => i in low, hasDot = () => true, colourOf = () => "first" } = this.points;
    const [seen, at] = [[...this.places.keys()].filter((k) => k % 2 === 0 && this.sees(k / 2)).map((k) => k / 2), this.places];
    for (const i of seen.length > BARS ? [] : seen.filter(hasBar)) {
      const colour = colourOf(i);
      pen.path([at[2 * i], up(low[i]), at[2 * i], up(high[i])], { stroke: colours[colour] ?? colour });
    }
    if (seen.length > CIRCLES) pen.image(density(at, seen, this.box, colours.first), this.box);
    else {
      /** @type {Record<string, number[]>} */
      const groups = {};
      for (const i of seen.filter(hasDot)) (groups[colourOf(i)] ??= []).push(at[2 * i], at[2 * i + 1]);
      for (const [colour, flat] of Object.entries(groups)) pen.dots(flat, seen.length < 400 ? 3.2 : 2, { fill: colours[colour] ?? colour, alpha: 0.8 });
    }
    for (const i of named.filter((each) => this.sees(each))) {
      const isLate = at[2 * i] > this.box.x + this.box.width - 60;
      pen.dots([at[2 * i], at[2 * i + 1]], 3.6, { fill: colours.star });
      pen.text(String(i), at[2 * i] + (isLate ? -7 : 7), at[2 * i + 1] + 4, { size: 11, fill: colours.ink, align: isLate ? "end" : "start" });
    }
  }

  /** @param {number} i */
  sees(i) {
    const [x, y, box] = [this.places[2 * i] - this.box.x, this.places[2 * i + 1] - this.box.y, this.box];
    return x >= 0 && x <= box.width && y >= 0 && y <= box.height;
  }

  /** @param {number} i @returns {Spot | null} */
  spot(i) {
    if (i < 0) return null;
    this.cursor = i;
    return { x: this.places[2 * i], y: this.places[2 * i + 1], lines: this.points.lines(i), enter: () => this.points.enter?.(i) };
  }

  /** Find the nearest point. @param {number} x @param {number} y */
  at(x, y) {
    const { yNames, isBare } = this.points;
    let [nearest, found] = [(yNames.length || isBare ? 3 * REACH : REACH) ** 2, -1];
    for (let i = 0; 2 * i < this.places.length; i++) {
      const distance = (this.places[2 * i] - x) ** 2 + (this.places[2 * i + 1] - y) ** 2;
      if (distance < nearest && this.sees(i)) [nearest, found] = [distance, i];
    }
    return this.spot(found);
  }

  /** Go to the next point along or up; equal ones come in their order. @param {number} right @param {number} higher */
  move(right, higher) {
    const [step, values, from, { xNames, yNames }] = [right || higher, right ? this.points.x : this.points.y, this.cursor, this.points];
    if (yNames.length) return this.spot((Math.max(0, from) + right + higher * xNames.length + values.length) % values.length);
    const isAhead = (/** @type {number} */ a, /** @type {number} */ b) => step * (values[a] - values[b] || a - b) > 0;
    let best = -1;
    for (let i = 0; i < values.length; i++)
      if (values[i] === values[i] && (from < 0 || isAhead(i, from)) && (best < 0 || isAhead(best, i))) best = i;
    return this.spot(best < 0 ? from : best);
  }

  /** Show a part: what is in a box, so many times as much or little, or all again. @param {Box | number | null} to */
  zoom(to) {
    const { x, y, width, height } = this.box;
    if (to === null) return void (this.scales = this.whole);
    const half = typeof to === "number" ? { width: width / to / 2, height: height / to / 2 } : { width: to.width / 2, height: to.height / 2 };
    const middle = typeof to === "number" ? [x + width / 2, y + height / 2] : [to.x + half.width, to.y + half.height];
    const ends = (/** @type {Scale} */ scale, /** @type {number} */ from, /** @type {number} */ until) => ({ ...scale, low: valueAt(scale, from), high: valueAt(scale, until) });
    const [along, across] = [(middle[0] - x) / width, 1 - (middle[1] - y) / height];
    this.scales = {
      x: ends(this.scales.x, along - half.width / width, along + half.width / width),
      y: ends(this.scales.y, across - half.height / height, across + half.height / height),
    };
  }
}

/** Count points by pixel; the darker, the more.
 * @param {Float64Array} places @param {number[]} seen @param {Box} box @param {string} colour such as #1f77b4 */
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
  return sheet;
}
