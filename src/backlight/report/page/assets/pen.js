// What pictures are drawn with: shapes of an SVG, in which text stays text.
/** @typedef {{stroke?: string, fill?: string, width?: number, dash?: boolean, alpha?: number}} Look */
/** @typedef {{align?: "start" | "middle" | "end", size?: number, fill: string, up?: boolean}} Letters */
/** @typedef {{x: number, y: number, width: number, height: number}} Box */

class Pen {
  constructor(width, height) {
    this.root = this.into = this.node("svg", { width, height, "font-family": "system-ui, sans-serif" });
  }
  node(name, attributes) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) if (value != null) made.setAttribute(key, String(value));
    this.into?.append(made);
    return made;
  }
  /** Draw a line through x, y, x, y, ...; NaN breaks it. @param {ArrayLike<number>} points @param {Look} look */
  path(points, look) {
    let [way, begins] = ["", true];
    for (let i = 0; i < points.length; i += 2) {
      const isKnown = points[i] === points[i] && points[i + 1] === points[i + 1];
      if (isKnown) way += `${begins ? "M" : "L"}${points[i].toFixed(1)} ${points[i + 1].toFixed(1)}`;
      begins = !isKnown;
    }
    this.trace(way, look);
  }
  /** @param {number[]} points @param {number} radius @param {Look} look */
  dots(points, radius, { fill, alpha }) {
    const places = points.flatMap((x, i) => (i % 2 ? [] : [`M${x.toFixed(1)} ${points[i + 1].toFixed(1)}h0`]));
    this.trace(places.filter((place) => !place.includes("N")).join(""), { stroke: fill, width: 2 * radius, alpha });
  }
  /** @param {string} way @param {Look} look */
  trace(way, { stroke = "none", fill = "none", width = 1, dash, alpha }) {
    const look = { "stroke-width": width, "stroke-linecap": "round", "stroke-dasharray": dash ? "5 4" : undefined };
    if (way) this.node("path", { d: way, fill, stroke, opacity: alpha, ...(stroke === "none" ? {} : look) });
  }
  /** @param {Box} box @param {string} fill @param {number} [opacity] */
  box(box, fill, opacity) {
    this.node("rect", { ...box, fill, opacity });
  }
  /** @param {string} text @param {number} x @param {number} y @param {Letters} letters */
  text(text, x, y, { align = "start", size = 12, fill, up }) {
    const transform = `translate(${x.toFixed(1)} ${y.toFixed(1)})${up ? " rotate(-90)" : ""}`;
    this.node("text", { transform, "text-anchor": align, "font-size": size, fill }).textContent = text;
  }

  /** Draw what does not leave a box. @param {Box} box @param {() => void} body */
  clip({ x, y, width, height }, body) {
    this.into = this.node("svg", { x, y, width, height, viewBox: `${x} ${y} ${width} ${height}` });
    body();
    this.into = this.root;
  }
}
