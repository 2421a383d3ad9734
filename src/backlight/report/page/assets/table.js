// Tables that are sorted by a press on a heading, and searched.

const MOST_ROWS = 200;

/** @param {HTMLElement} host @param {any} view */
async function drawRows(host, { columns, cells, pictures }) {
  const found = await texts(cells);
  const rows = (found[0] ?? []).map((_, row) => found.map((column) => column[row]));
  new DataTable(host, columns, rows, { pictures });
}

class DataTable {
  /** @param {HTMLElement} host @param {{label: string, links?: string[]}[]} columns @param {any[][]} rows
   * @param {{pictures?: string[], pressed?: (row: any[]) => void}} more */
  constructor(host, columns, rows, { pictures = [], pressed }) {
    Object.assign(this, { pictures, pressed });
    [this.columns, this.rows, this.order, this.pictures, this.pressed] = [columns, rows, [...rows.keys()], pictures, pressed];
    [this.sorted, this.isFalling] = [-1, true];
    [this.search, this.count] = [element("input", { type: "search" }), element("span", { class: "soft", role: "status" })];
    this.search.addEventListener("input", () => this.fill());
    this.heads = columns.map(({ label }, column) => element("th", { scope: "col" }, button(label, () => this.sort(column))));
    const picture = pictures.length ? [element("th", { scope: "col" }, "picture")] : [];
    this.body = element("tbody");
    const table = element("table", {}, element("thead", {}, element("tr", {}, ...this.heads, ...picture)), this.body);
    const controls = element("div", { class: "controls" }, element("label", {}, "Search ", this.search), this.count);
    host.append(controls, element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "table" }, table));
    this.fill();
  }

  /** @param {number} column */
  sort(column) {
    this.isFalling = this.sorted === column ? !this.isFalling : this.rows.some((row) => typeof row[column] === "number");
    this.sorted = column;
    const [sign, cell] = [this.isFalling ? -1 : 1, (/** @type {number} */ row) => this.rows[row][column]];
    this.order.sort((a, b) => compare(cell(a), cell(b), sign) || a - b);
    for (const [i, head] of this.heads.entries())
      head.setAttribute("aria-sort", i !== column ? "none" : this.isFalling ? "descending" : "ascending");
    this.fill();
  }

  fill() {
    const wanted = this.search.value.toLowerCase();
    const found = this.order.filter((row) => !wanted || this.rows[row].some((cell) => String(cell ?? "").toLowerCase().includes(wanted)));
    this.count.textContent = found.length > MOST_ROWS ? `the first ${MOST_ROWS} of ${found.length} rows` : `${found.length} of ${this.rows.length} rows`;
    this.body.replaceChildren(...found.slice(0, MOST_ROWS).map((row) => this.line(row)));
  }

  /** @param {number} row */
  line(row) {
    const cells = this.rows[row].map((value, column) => {
      const [text, link] = [typeof value === "string" ? value : brief(value, 4), this.columns[column].links?.[row]];
      const press = this.pressed && !column ? button(text, () => this.pressed?.(this.rows[row])) : text;
      return element("td", typeof value === "string" ? {} : { class: "number" }, link ? element("a", { href: link }, text) : press);
    });
    if (this.pictures[row]) cells.push(element("td", {}, element("img", { src: `data:image/png;base64,${this.pictures[row]}`, alt: "" })));
    return element("tr", {}, ...cells);
  }
}

/** Compare two cells; what is not known comes last. @param {any} a @param {any} b @param {number} sign */
function compare(a, b, sign) {
  const [isUnknown, isOther] = [a, b].map((value) => value === null || Number.isNaN(value));
  if (isUnknown || isOther) return Number(isUnknown) - Number(isOther);
  return sign * (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));
}
