// A picture on the page: drawn to fit, pointed at, walked through with the keyboard, and saved.

/** @typedef {{x: number, y: number, lines: string[], enter: () => void}} Spot */
/** @typedef {Record<string, string>} Theme */

const COLOURS = ["ink", "soft", "line", "paper", "first", "second", "third", "fourth", "fifth", "sixth", "star"];

/** Read the colours of the page as it is shown, or on white paper. @param {boolean} [onPaper] @returns {Theme} */
function theme(onPaper) {
  const root = document.documentElement;
  if (onPaper) root.dataset.theme = "light";
  const style = getComputedStyle(root);
  const found = Object.fromEntries(COLOURS.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  if (onPaper) delete root.dataset.theme;
  return found;
}

class Chart {
  /** @param {HTMLElement} host @param {string} name of saved files @param {PointPicture} picture */
  constructor(host, name, picture) {
    this.picture = picture;
    this.stage = element("div", { class: "stage", tabindex: "0", role: "group", "aria-label": `${picture.points.label}; arrow keys walk through it` });
    this.told = element("div", { class: "told", role: "status" });
    this.ring = element("div", { class: "ring" });
    this.marked = element("div", { class: "selection" });
    this.size = { width: 0, height: 0 };
    /** @type {Spot | null} */
    this.walked = null;
    /** @type {number[] | null} */
    this.pressed = null;
    const zooms = /** @type {[string, number | null][]} */ ([["Zoom in", 2], ["Zoom out", 0.5], ["Whole", null]]);
    const tools = picture.points.isBare || picture.points.yNames.length ? [] : zooms.map(([text, to]) => button(text, () => this.zoom(to)));
    for (const kind of ["png", "svg"]) tools.push(button(`Save ${kind.toUpperCase()}`, () => this.save(`${name}.${kind}`)));
    host.replaceChildren(this.stage, element("div", { class: "tools" }, ...tools));
    this.listen(tools.length > 2);
    new ResizeObserver(() => host.clientWidth !== this.size.width && this.draw()).observe(host);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    this.draw();
  }

  draw() {
    const width = Math.max(240, this.stage.parentElement?.clientWidth ?? 0);
    this.size = { width, height: this.picture.height(width) };
    const drawn = this.drawn();
    drawn.setAttribute("role", "img");
    drawn.setAttribute("aria-label", this.picture.points.label);
    this.stage.replaceChildren(drawn, this.ring, this.marked, this.told);
    this.point(null);
  }

  /** @param {boolean} [onPaper] */
  drawn(onPaper) {
    const pen = new Pen(this.size.width, this.size.height);
    this.picture.draw(pen, this.size.width, this.size.height, theme(onPaper));
    return pen.root;
  }

  /** @param {Spot | null} spot */
  point(spot) {
    this.told.hidden = this.ring.hidden = !spot;
    this.marked.hidden = true;
    if (!spot) return;
    this.told.textContent = spot.lines.join("\n");
    this.ring.style.transform = `translate(${spot.x - 7}px, ${spot.y - 7}px)`;
    const left = Math.min(spot.x + 14, Math.max(0, this.size.width - this.told.offsetWidth));
    this.told.style.transform = `translate(${left}px, ${spot.y + 14}px)`;
  }

  /** @param {Box | number | null} to */
  zoom(to) {
    this.picture.zoom(to);
    this.draw();
  }

  /** @param {boolean} canZoom */
  listen(canZoom) {
    const place = (/** @type {PointerEvent} */ event) => [event.clientX - this.stage.getBoundingClientRect().left, event.clientY - this.stage.getBoundingClientRect().top];
    const dragged = (/** @type {PointerEvent} */ event) => {
      if (!canZoom || !this.pressed || event.pointerType !== "mouse") return null;
      const [[x, y], [u, v]] = [this.pressed, place(event)];
      const box = { x: Math.min(x, u), y: Math.min(y, v), width: Math.abs(x - u), height: Math.abs(y - v) };
      return box.width > 8 && box.height > 8 ? box : null;
    };
    this.stage.addEventListener("pointerdown", (event) => (this.pressed = place(event)));
    this.stage.addEventListener("pointermove", (event) => {
      const box = dragged(event);
      this.point(box ? null : this.picture.at(place(event)[0], place(event)[1]));
      if (!box) return;
      this.marked.hidden = false;
      Object.assign(this.marked.style, { transform: `translate(${box.x}px, ${box.y}px)`, width: `${box.width}px`, height: `${box.height}px` });
    });
    this.stage.addEventListener("pointerup", (event) => {
      const box = dragged(event);
      this.pressed = null;
      if (box) this.zoom(box);
      else this.picture.at(place(event)[0], place(event)[1])?.enter();
    });
    this.stage.addEventListener("pointerleave", () => this.point((this.pressed = null)));
    this.stage.addEventListener("blur", () => this.point(null));
    this.stage.addEventListener("keydown", (event) => this.key(event, canZoom));
  }

  /** @param {KeyboardEvent} event @param {boolean} canZoom */
  key(event, canZoom) {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    const zoom = canZoom ? { "+": 2, "-": 0.5, 0: null }[event.key] : undefined;
    if (step) this.point((this.walked = this.picture.move(step[0], step[1])));
    else if (event.key === "Enter") this.walked?.enter();
    else if (zoom !== undefined) this.zoom(zoom);
    else return;
    event.preventDefault();
  }

  /** Save the picture on white paper. @param {string} name */
  async save(name) {
    let file = new Blob([new XMLSerializer().serializeToString(this.drawn(true))], { type: "image/svg+xml" });
    if (name.endsWith(".png")) {
      const [image, { width, height }] = [new Image(), this.size];
      image.src = `data:image/svg+xml,${encodeURIComponent(await file.text())}`;
      await image.decode();
      const sheet = element("canvas", { width: String(2 * width), height: String(2 * height) });
      sheet.getContext("2d")?.drawImage(image, 0, 0, 2 * width, 2 * height);
      file = await new Promise((resolve, reject) => sheet.toBlob((found) => (found ? resolve(found) : reject(new Error("too large a picture")))));
    }
    const link = element("a", { href: URL.createObjectURL(file), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }
}
