// What pictures are drawn with: shapes of an SVG, in which text stays text.

/** @typedef {{stroke?: string, fill?: string, width?: number, dash?: boolean, alpha?: number}} Look */
/** @typedef {{align?: "start" | "middle" | "end", size?: number, fill: string, up?: boolean}} Letters */
/** @typedef {{x: number, y: number, width: number, height: number}} Box */

class Pen {
  /** @param {number} width @param {number} height */
  constructor(width, height) {
    this.root = this.into = this.node("svg", { width, height, "font-family": "system-ui, sans-serif" });
    this.clips = 0;
  }

  /** @param {string} name @param {Record<string, string | number | undefined>} attributes @returns {SVGElement} */
  node(name, attributes) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) if (value !== undefined) made.setAttribute(key, String(value));
    this.into?.append(made);
    return made;
  }

  /** Draw a line through points (x, y, x, y, ...); NaN breaks it. @param {ArrayLike<number>} points @param {Look} look */
  path(points, look) {
    let [way, begins] = ["", true];
    for (let i = 0; i < points.length; i += 2) {
      const isKnown = points[i] === points[i] && points[i + 1] === points[i + 1];
      if (isKnown) way += `${begins ? "M" : "L"}${points[i].toFixed(1)} ${points[i + 1].toFixed(1)}`;
      begins = !isKnown;
    }
    this.trace(way, look);
  }

  /** @param {ArrayLike<number>} points @param {number} radius @param {Look} look */
  dots(points, radius, { fill, alpha }) {
    let way = "";
    for (let i = 0; i < points.length; i += 2)
      if (points[i] === points[i] && points[i + 1] === points[i + 1]) way += `M${points[i].toFixed(1)} ${points[i + 1].toFixed(1)}h0`;
    this.trace(way, { stroke: fill, width: 2 * radius, alpha });
  }

  /** @param {string} way @param {Look} look */
  trace(way, { stroke = "none", fill = "none", width = 1, dash, alpha }) {
    const round = { "stroke-linecap": "round", "stroke-width": width, "stroke-dasharray": dash ? "5 4" : undefined };
    if (way) this.node("path", { d: way, fill, stroke, opacity: alpha, ...(stroke === "none" ? {} : round) });
  }

  /** @param {Box} box @param {string} fill */
  box({ x, y, width, height }, fill) {
    this.node("rect", { x: x.toFixed(2), y: y.toFixed(2), width: width.toFixed(2), height: height.toFixed(2), fill });
  }

  /** @param {string} text @param {number} x @param {number} y @param {Letters} letters */
  text(text, x, y, { align = "start", size = 12, fill, up }) {
    const transform = `translate(${x.toFixed(1)} ${y.toFixed(1)})${up ? " rotate(-90)" : ""}`;
    this.node("text", { transform, "text-anchor": align, "font-size": size, fill }).textContent = text;
  }

  /** @param {HTMLCanvasElement} pixels @param {Box} box */
  image(pixels, { x, y }) {
    this.node("image", { x, y, width: pixels.width, height: pixels.height, href: pixels.toDataURL() });
  }

  /** Draw what does not leave a box. @param {Box} box @param {() => void} body */
  clip(box, body) {
    const [id, outside] = [`clip-${Math.random().toString(36).slice(2)}`, this.into];
    this.into = this.node("clipPath", { id });
    this.box(box, "none");
    this.into = outside;
    this.into = this.node("g", { "clip-path": `url(#${id})` });
    body();
    this.into = outside;
  }
}
