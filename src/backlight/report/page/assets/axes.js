// Axes: from numbers to places and back, with ticks that people would choose.
/** @typedef {{low: number, high: number, bend: number, kind: string, grain?: number}} Scale
 * `kind` is linear, log or signed: linear up to `bend` on both sides of zero, logarithmic beyond. */

/** @param {Scale} scale @param {number} value */
function forward({ kind, bend }, value) {
  return kind === "log" ? Math.log10(value) : kind === "signed" ? Math.asinh(value / bend) : value;
}
/** Make what finds where a value is between the ends, 0 and 1. @param {Scale} scale */
function partOf(scale) {
  const [low, high] = [forward(scale, scale.low), forward(scale, scale.high)];
  const isBelow = (value) => scale.kind === "log" && value <= 0;
  return (/** @type {number} */ value) => (isBelow(value) ? -9 : (forward(scale, value) - low) / (high - low));
}
/** Find the value at a place between 0 and 1. @param {Scale} scale @param {number} part */
function valueAt(scale, part) {
  const [low, high] = [forward(scale, scale.low), forward(scale, scale.high)];
  const place = low + part * (high - low);
  return { log: 10 ** place, signed: Math.sinh(place) * scale.bend }[scale.kind] ?? place;
}
/** Choose a scale that shows all numbers; a logarithmic one shows those above zero.
 * @param {ArrayLike<number>[]} parts @param {string} kind @param {number} [margin] @returns {Scale} */
function scaleOf(parts, kind, margin = 0.05) {
  let [low, high, least] = [Infinity, -Infinity, Infinity];
  for (const values of parts)
    for (let i = 0; i < values.length; i++) {
      const value = values[i];
      if (!Number.isFinite(value) || (kind === "log" && value <= 0)) continue;
      low = Math.min(low, value);
      high = Math.max(high, value);
      if (value !== 0) least = Math.min(least, Math.abs(value));
    }
  if (low > high) return { low: 0, high: 1, bend: 1, kind: "linear" };
  const bend = Math.max(Math.max(-low, high) / 100, Number.isFinite(least) ? least : 1);
  const grain = parts.every((values) => Array.prototype.every.call(values, Number.isInteger)) ? 1 : 0;
  const [half, tight] = [Math.abs(low) / 2 || 0.5, { low, high, bend, kind, grain }];
  if (low === high) return { ...tight, low: low - half, high: high + half };
  return { ...tight, low: valueAt(tight, -margin), high: valueAt(tight, 1 + margin) };
}
/** Choose ticks. @param {Scale} scale @param {number} most @returns {number[]} */
function ticks({ low, high, kind, bend, grain = 0 }, most) {
  const isWithin = (value) => value >= low && value <= high;
  if (kind === "log" && high / low >= 8) {
    const [first, last] = [Math.floor(Math.log10(low)), Math.floor(Math.log10(high))];
    const step = Math.max(1, Math.ceil((last - first) / most));
    const powers = Array.from({ length: last - first + 1 }, (_, i) => first + i).filter((power) => power % step === 0);
    const leads = last - first < 3 ? [1, 2, 5] : [1];
    return powers.flatMap((power) => leads.map((lead) => lead * 10 ** power)).filter(isWithin);
  }
  if (kind === "signed" && low < 0 && high > 0) {
    const sizes = ticks({ low: bend, high: Math.max(-low, high, 20 * bend), kind: "log", bend }, most / 2);
    return [...sizes.map((size) => -size), 0, ...sizes].filter(isWithin);
  }
  const power = 10 ** Math.floor(Math.log10((high - low) / most));
  const step = Math.max(grain, ([1, 2, 5].find((lead) => lead * power >= (high - low) / most) ?? 10) * power);
  const [first, last] = [Math.ceil(low / step), Math.floor(high / step)];
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}
/** Choose where an axis says something: at ticks, or at every so many of its names. */
function placesOf(scale, names, room) {
  const step = Math.ceil(names.length / Math.max(1, room));
  return names.length ? [...names.keys()].filter((i) => i % step === 0) : ticks(scale, Math.max(2, room));
}
/** Find how high a name along an axis is: 0 if it fits into its column. */
const heightOf = (name, column) => (name.length * 6.5 > column ? 6.8 * Math.min(14, name.length) - 8 : 0);
const roomOf = (names, width) => Math.max(0, ...names.map((name) => heightOf(name, width / names.length)));

/** Draw axes and their names. @param {Pen} pen @param {Box} box @param {Theme} colours */
function drawAxes(pen, box, colours, { x, y, xLabel, yLabel, title = "", xNames, yNames }) {
  const [bottom, small, across, along] = [box.y + box.height, { size: 11, fill: colours.soft }, partOf(y), partOf(x)];
  pen.text(fitted(title, box.width / 7), box.x, 18, { size: 13, fill: colours.ink });
  for (const value of placesOf(y, yNames, box.height / (yNames.length ? 13 : 40))) {
    const at = bottom - box.height * across(value);
    if (!yNames.length) pen.path([box.x, at, box.x + box.width, at], { stroke: colours.line });
    pen.text(fitted(yNames[value] ?? brief(value, 6), 18), box.x - 6, at + 4, { ...small, align: "end" });
  }
  const room = roomOf(xNames, box.width);
  for (const value of placesOf(x, xNames, box.width / (room ? 13 : xNames.length ? 8 : 75))) {
    const at = box.x + box.width * along(value);
    pen.path([at, bottom, at, bottom + 4], { stroke: colours.soft });
    const isUp = heightOf(xNames[value] ?? "", box.width / xNames.length) > 0;
    if (isUp) pen.text(fitted(xNames[value], 14), at + 4, bottom + 8, { ...small, align: "end", up: true });
    else pen.text(xNames[value] ?? brief(value, 6), at, bottom + 17, { ...small, align: "middle" });
  }
  pen.path([box.x, box.y, box.x, bottom, box.x + box.width, bottom], { stroke: colours.soft });
  const name = { size: 12, fill: colours.ink, align: /** @type {const} */ ("middle") };
  pen.text(fitted(xLabel, box.width / 6), box.x + box.width / 2, bottom + 36 + room, name);
  pen.text(fitted(yLabel, (box.height + 50) / 6.4), 13, box.y + box.height / 2, { ...name, up: true });
}
/** Shorten a text to so many letters. @param {string} text @param {number} letters */
const fitted = (text, letters) => (text.length > letters ? `${text.slice(0, Math.max(1, letters - 1))}…` : text);

/** Lay the names of colours out in rows. @param {string[][]} all @param {number} width */
function legendOf(all, width) {
  let [left, row] = [0, 0];
  return all.slice(0, 24).map(([name, colour]) => {
    const text = fitted(name, 40);
    const wide = 24 + 6.4 * text.length;
    if (left > 0 && left + wide > width) [left, row] = [0, row + 1];
    left += wide;
    return { text, colour, x: left - wide + 6, y: 15 * row };
  });
}
