// Tables that are sorted by a press on a heading, and searched.
const MOST_ROWS = 200;

async function drawRows(host, { columns, cells, pictures }) {
  const found = await texts(cells);
  const rows = (found[0] ?? []).map((_, row) => found.map((all) => (all[row] === "Infinity" ? 1 / 0 : all[row])));
  new DataTable(host, columns, rows, { pictures });
}

class DataTable {
  sorted = -1;
  isFalling = true;
  search = element("input", { type: "search" });
  count = element("span", { class: "soft", role: "status" });
  body = element("tbody");
  /** @param {HTMLElement} host @param {any[]} columns @param {any[][]} rows @param {any} more: pictures, pressed */
  constructor(host, columns, rows, more = {}) {
    this.columns = columns;
    this.rows = rows;
    this.order = [...rows.keys()];
    this.pictures = more.pictures ?? [];
    this.pressed = more.pressed;
    this.search.addEventListener("input", () => this.fill());
    const head = (...inner) => element("th", { scope: "col" }, ...inner);
    this.heads = columns.map(({ label }, column) => head(button(label, () => this.sort(column))));
    const all = [...this.heads, ...(this.pictures.length ? [head("picture")] : [])];
    const table = element("table", {}, element("thead", {}, element("tr", {}, ...all)), this.body);
    const scroll = { class: "scroll", tabindex: "0", role: "region", "aria-label": "table" };
    const controls = element("div", { class: "controls" }, element("label", {}, "Search ", this.search), this.count);
    host.append(controls, element("div", scroll, table));
    this.fill();
  }

  sort(column) {
    const isNumeric = this.rows.some((row) => typeof row[column] === "number");
    this.isFalling = this.sorted === column ? !this.isFalling : isNumeric;
    this.sorted = column;
    const sign = this.isFalling ? -1 : 1;
    this.order.sort((a, b) => compare(this.rows[a][column], this.rows[b][column], sign) || a - b);
    const order = (i) => (i !== column ? "none" : this.isFalling ? "descending" : "ascending");
    this.heads.forEach((head, i) => head.setAttribute("aria-sort", order(i)));
    this.fill();
  }

  fill() {
    const wanted = this.search.value.toLowerCase();
    const has = (cell) => String(cell ?? "").toLowerCase().includes(wanted);
    const found = this.order.filter((row) => !wanted || this.rows[row].some(has));
    const shown = found.slice(0, MOST_ROWS);
    this.count.textContent = `${shown.length} of ${found.length} rows${wanted ? " found" : ""}`;
    this.body.replaceChildren(...shown.map((row) => this.line(row)));
  }

  line(row) {
    const cells = this.rows[row].map((value, column) => {
      const isText = typeof value === "string";
      const [text, link] = [isText ? value : brief(value, 4), this.columns[column].links?.[row]];
      const press = this.pressed && !column ? button(text, () => this.pressed?.(this.rows[row])) : text;
      return element("td", isText ? {} : { class: "number" }, link ? element("a", { href: link }, text) : press);
    });
    const picture = this.pictures[row] && `data:image/png;base64,${this.pictures[row]}`;
    if (picture) cells.push(element("td", {}, element("img", { src: picture, alt: "" })));
    return element("tr", {}, ...cells);
  }
}

/** Compare two cells; what is not known comes last. */
function compare(a, b, sign) {
  const [isUnknown, isOther] = [a, b].map((value) => value === null || Number.isNaN(value));
  if (isUnknown || isOther) return Number(isUnknown) - Number(isOther);
  if (typeof a === "number" && typeof b === "number") return sign * (a - b);
  return sign * String(a).localeCompare(String(b), "en", { numeric: true });
}
