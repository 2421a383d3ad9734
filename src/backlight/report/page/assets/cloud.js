// Every dimension or feature of a layer: points, what is known of one, and the largest as a table.

const LARGEST = 200;

class Cloud {
  /** @param {HTMLElement} host @param {any} view @param {string} name */
  constructor(host, view, name) {
    const { unit, layers, statistics } = view;
    this.view = view;
    this.name = name;
    this.shown = statistics.filter((each) => !statistics.some((other) => other.error === each.name));
    this.chosen = { layer: 0, statistic: 0, along: 0 };
    [this.stage, this.detail, this.table] = [element("div"), element("div", { class: "detail", "aria-live": "polite" }), element("div")];
    const labels = this.shown.map((each) => each.label);
    this.along = [`number of the ${unit}`, ...labels];
    const wanted = element("input", { type: "search", inputmode: "numeric", size: "7" });
    wanted.addEventListener("change", () => /^\d+$/.test(wanted.value.trim()) && this.tell(Number(wanted.value)));
    const menus = [
      menu("Layer", layers.map(String), (layer) => this.choose({ layer })),
      menu("Statistic", labels, (statistic) => this.choose({ statistic })),
      menu("Along", this.along, (along) => this.choose({ along })),
    ];
    const find = element("label", {}, `Find ${unit} `, wanted);
    host.append(element("div", { class: "controls" }, ...menus.map((each) => each.label), find), this.stage, this.detail, this.table);
  }

  /** @param {{layer?: number, statistic?: number, along?: number}} change */
  async choose(change) {
    const { layer, statistic, along } = Object.assign(this.chosen, change);
    const { unit, layers, statistics, occurrences, links } = this.view;
    const all = await Promise.all(statistics.map((each) => numbers(each.values[layer])));
    this.values = Object.fromEntries(statistics.map(({ name }, i) => [name, all[i]]));
    [this.occurrences, this.links] = [(await texts(occurrences[layer])) ?? {}, (await texts(links[layer])) ?? {}];
    const { name, label, error } = this.shown[statistic];
    const [y, errors] = [this.values[name], this.values[error]];
    const largest = largestOf(y);
    const picture = new PointPicture({
      ...{ label: `${label} of all ${y.length} ${unit}s of layer ${layers[layer]}`, xLabel: this.along[along], yLabel: label, y },
      x: along ? this.values[this.shown[along - 1].name] : y.map((_, i) => i),
      yKind: y.some((value) => value < 0) ? "signed" : "log",
      ...(errors ? { low: y.map((value, i) => value - 1.96 * errors[i]), high: y.map((value, i) => value + 1.96 * errors[i]) } : {}),
      named: largest.slice(0, 5),
      lines: (i) => [`${unit} ${i}`, ...this.told(i), ...(this.occurrences[i] ?? []).slice(0, 1).map((each) => each[1])],
      enter: (i) => this.tell(i),
    });
    new Chart(this.stage, `${this.name}-layer-${layers[layer]}`, picture);
    this.list(largest);
    this.tell(largest[0] ?? 0);
  }

  /** Say all that is known of one, as it is pointed at. @param {number} i */
  told(i) {
    return this.shown.map(({ name, label, error }) => {
      const se = this.values[error]?.[i] ?? NaN;
      return `${label}: ${brief(this.values[name][i])}${Number.isNaN(se) ? "" : ` ± ${brief(se, 2)}`}`;
    });
  }

  /** Show one below the picture, with its tokens. @param {number} i */
  tell(i) {
    const { unit, layers } = this.view;
    const isThere = i < this.values[this.shown[0].name].length;
    const title = isThere ? `Layer ${layers[this.chosen.layer]}, ${unit} ${i}` : `There is no ${unit} ${i}.`;
    const link = this.links[i] ? [element("a", { href: this.links[i], rel: "noreferrer" }, "Neuronpedia")] : [];
    const cases = (this.occurrences[i] ?? []).map(([value, context, where]) => element("li", { title: where }, `${brief(value)} `, ...marked(context)));
    const head = [element("h3", {}, title), element("p", {}, isThere ? this.told(i).join(" · ") : "")];
    this.detail.replaceChildren(...head, ...link, element("ul", {}, ...cases));
  }

  /** @param {number[]} largest */
  list(largest) {
    const columns = this.shown.flatMap(({ name, label, error }) => [{ label, name }, ...(error ? [{ label: "± se", name: error }] : [])]);
    const rows = largest.map((i) => [i, ...columns.map(({ name }) => this.values[name][i]), this.occurrences[i]?.[0]?.[1] ?? ""]);
    this.table.replaceChildren();
    new DataTable(this.table, [{ label: this.view.unit }, ...columns, { label: "where it was largest" }], rows, { pressed: (row) => this.tell(row[0]) });
  }
}

/** @param {Float64Array} values */
function largestOf(values) {
  const sizes = values.map(Math.abs);
  const known = sizes.filter((size) => size === size).sort();
  const least = known[Math.max(0, known.length - LARGEST)];
  const kept = [...sizes.keys()].filter((i) => sizes[i] >= least);
  return kept.sort((a, b) => sizes[b] - sizes[a] || a - b).slice(0, LARGEST);
}

/** Mark the token in guillemets. @param {string} context @returns {(Node | string)[]} */
function marked(context) {
  const [from, to] = [context.indexOf("«"), context.indexOf("»")];
  return from < 0 || to < from ? [context] : [context.slice(0, from), element("mark", {}, context.slice(from + 1, to)), context.slice(to + 1)];
}
