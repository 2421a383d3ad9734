// A picture on the page: drawn to fit, pointed at, walked through with the keyboard, and saved.
/** @typedef {{x: number, y: number, lines: string[], enter: () => void}} Spot */
/** @typedef {Record<string, string>} Theme */

const COLOURS = ["ink", "soft", "line", "paper", "first", "second", "third", "fourth", "fifth", "sixth", "star"];

/** Read the colours of the page as it is shown, or on white paper. @param {boolean} [onPaper] @returns {Theme} */
function theme(onPaper) {
  const page = document.documentElement;
  if (onPaper) page.dataset.theme = "light";
  const style = getComputedStyle(page);
  const found = Object.fromEntries(COLOURS.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  if (onPaper) delete page.dataset.theme;
  return found;
}

const charts = new Set();
const redraw = () => charts.forEach((chart) => (chart.stage.isConnected ? chart.draw() : charts.delete(chart)));
window.addEventListener("resize", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

class Chart {
  told = element("div", { class: "told", role: "status" });
  ring = element("div", { class: "ring" });
  size = { width: 0, height: 0 };
  /** @type {Spot | null} */
  spot = null;
  /** @param {HTMLElement} host @param {string} name of saved files @param {PointPicture} picture */
  constructor(host, name, picture) {
    this.picture = picture;
    const label = `${picture.points.label}; arrow keys walk through it`;
    this.stage = element("div", { class: "stage", tabindex: "0", role: "group", "aria-label": label });
    this.canZoom = !picture.points.isBare && !picture.points.yNames.length;
    const zooms = [button("Zoom in", () => this.zoom(2)), button("Zoom out", () => this.zoom(0.5))];
    const tools = this.canZoom ? [...zooms, button("Whole", () => this.zoom(null))] : [];
    tools.push(button("Save PNG", () => this.save(`${name}.png`)), button("Save SVG", () => this.save(`${name}.svg`)));
    host.replaceChildren(this.stage, element("div", { class: "tools" }, ...tools));
    this.listen();
    charts.add(this);
    this.draw();
  }

  draw() {
    const width = Math.max(240, this.stage.parentElement?.clientWidth ?? 0);
    this.size = { width, height: this.picture.height(width) };
    const drawn = this.drawn(theme());
    drawn.setAttribute("role", "img");
    drawn.setAttribute("aria-label", this.picture.points.label);
    this.stage.replaceChildren(drawn, this.ring, this.told);
    this.point(null);
  }

  drawn(colours, caption = "") {
    const [{ width, height }, more] = [this.size, caption ? 20 : 0];
    const pen = new Pen(width, height + more);
    pen.box({ x: 0, y: 0, width, height: height + more }, colours.paper);
    this.picture.draw(pen, width, height, colours);
    if (caption) pen.text(fitted(caption, width / 6), 10, height + 12, { size: 11, fill: colours.soft });
    return pen.root;
  }
  point(spot) {
    if (spot) this.spot = spot;
    this.told.hidden = this.ring.hidden = !spot;
    if (!spot) return;
    this.told.textContent = spot.lines.join("\n");
    this.ring.style.transform = `translate(${spot.x - 7}px, ${spot.y - 7}px)`;
    const left = Math.max(0, Math.min(spot.x + 14, this.size.width - this.told.offsetWidth));
    this.told.style.transform = `translate(${left}px, ${spot.y + 14}px)`;
  }

  zoom(times) {
    if (this.canZoom) this.picture.zoom(times, this.spot);
    this.draw();
    this.point(this.picture.spot(this.picture.cursor));
  }

  listen() {
    const point = ({ clientX, clientY }) => {
      const { left, top } = this.stage.getBoundingClientRect();
      this.point(this.picture.at(clientX - left, clientY - top));
    };
    this.stage.addEventListener("pointermove", point);
    this.stage.addEventListener("pointerdown", point);
    this.stage.addEventListener("click", () => this.spot?.enter());
    this.stage.addEventListener("dblclick", () => this.zoom(2));
    this.stage.addEventListener("blur", () => this.point(null));
    this.stage.addEventListener("pointerleave", ({ pointerType }) => pointerType === "mouse" && this.point(null));
    this.stage.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
      const times = { "+": 2, "-": 0.5, 0: null }[event.key];
      if (step) this.point(this.picture.move(step[0], step[1]));
      else if (times !== undefined) this.zoom(times);
      else if (event.key === "Enter") this.spot?.enter();
      else return;
      event.preventDefault();
    });
  }
  /** Save the picture on white paper. @param {string} name */
  async save(name) {
    const drawing = new XMLSerializer().serializeToString(this.drawn(theme(true), document.title));
    let address = `data:image/svg+xml,${encodeURIComponent(drawing)}`;
    if (name.endsWith(".png")) {
      const [image, width, height] = [new Image(), this.size.width, this.size.height + 20];
      image.src = address;
      await image.decode();
      const sheet = element("canvas", { width: String(2 * width), height: String(2 * height) });
      sheet.getContext("2d")?.drawImage(image, 0, 0, 2 * width, 2 * height);
      address = sheet.toDataURL();
    }
    element("a", { href: address, download: name }).click();
  }
}
