// Every dimension or feature of a layer: points, what is known of one, and the largest as a table.
const LARGEST = 200;

class Cloud {
  stage = element("div");
  detail = element("div", { class: "detail", "aria-live": "polite" });
  table = element("div");
  chosen = { layer: 0, statistic: 0, along: 0 };
  constructor(host, view, name) {
    this.name = name;
    this.values = this.occurrences = this.links = {};
    const { unit, layers, statistics } = (this.view = view);
    this.shown = statistics.filter((each) => !statistics.some((other) => other.error === each.name));
    const labels = this.shown.map((each) => each.label);
    this.along = [`number of the ${unit}`, ...labels];
    const wanted = element("input", { type: "search", inputmode: "numeric", size: "7" });
    wanted.addEventListener("change", () => /^\d+$/.test(wanted.value.trim()) && this.mark(Number(wanted.value)));
    const menus = [
      menu("Layer", layers.map(String), (layer) => this.choose({ layer })),
      menu("Statistic", labels, (statistic) => this.choose({ statistic })),
      menu("Along", this.along, (along) => this.choose({ along })),
    ];
    const find = element("label", {}, `Find ${unit} `, wanted);
    const controls = element("div", { class: "controls" }, ...menus.map((each) => each.label), find);
    host.append(controls, this.stage, this.detail, this.table);
  }

  async choose(change) {
    const { layer, statistic, along } = (this.chosen = { ...this.chosen, ...change });
    const [chosen, view] = [this.chosen, this.view];
    const [all, ...about] = await Promise.all([
      Promise.all(view.statistics.map((each) => numbers(each.values[layer]))),
      ...[view.occurrences[layer], view.links[layer]].map(texts),
    ]);
    if (chosen !== this.chosen) return; // something else was chosen meanwhile
    [this.occurrences, this.links] = about.map((found) => found ?? {});
    this.values = Object.fromEntries(view.statistics.map(({ name }, i) => [name, all[i]]));
    const { name, label, error } = this.shown[statistic];
    const [y, errors, wrong] = [name, error, "likely_wrong"].map((each) => this.values[each]);
    const ends = (sign) => (errors ? y.map((value, i) => value + sign * 1.96 * errors[i]) : []);
    const largest = largestOf(y);
    const picture = new PointPicture({
      label: `${label} of all ${y.length} ${view.unit}s of layer ${view.layers[layer]}`,
      ...{ xLabel: this.along[along], yLabel: label, y, low: ends(-1), high: ends(1) },
      x: along ? this.values[this.shown[along - 1].name] : y.map((_, i) => i),
      ...{ yKind: y.some((value) => value < 0) ? "signed" : "log", named: largest.slice(0, 5) },
      lines: (i) => [`${view.unit} ${i}`, ...this.told(i), this.context(i)].filter(Boolean),
      ...{ enter: (i) => this.tell(i), colourOf: (i) => (wrong?.[i] === 1 ? "second" : "first") },
      legend: wrong?.includes(1) ? [["likely wrong", "second"]] : [],
    });
    this.chart = new Chart(this.stage, `${this.name}-layer-${view.layers[layer]}-${name}`, picture);
    this.list(largest);
    this.tell(largest[0] ?? 0);
  }
  /** Say all that is known of one. @param {number} i */
  told(i) {
    return this.shown.map(({ name, label, error }) => {
      const se = this.values[error]?.[i] ?? NaN;
      return `${label}: ${brief(this.values[name][i])}${Number.isNaN(se) ? "" : ` ± ${brief(se, 2)}`}`;
    });
  }
  context(i) {
    const [, , before, token, after] = this.occurrences[i]?.[0] ?? [];
    return token === undefined ? "" : `${before}«${token}»${after}`;
  }
  /** Show one in the picture and below it. @param {number} i */
  mark(i) {
    this.tell(i);
    if (i < this.values[this.shown[0].name].length) this.chart?.point(this.chart.picture.spot(i));
  }
  /** Show one below the picture, with its tokens. @param {number} i */
  tell(i) {
    const { unit, layers } = this.view;
    const isThere = i < this.values[this.shown[0].name].length;
    const title = isThere ? `Layer ${layers[this.chosen.layer]}, ${unit} ${i}` : `There is no ${unit} ${i}.`;
    const link = this.links[i] ? [element("a", { href: this.links[i], rel: "noreferrer" }, "Neuronpedia")] : [];
    const cases = (this.occurrences[i] ?? []).map(([value, where, before, token, after]) =>
      element("li", { title: where }, `${brief(value)}\u2003`, before, element("mark", {}, token), after),
    );
    const told = element("p", {}, isThere ? this.told(i).join(" · ") : "");
    this.detail.replaceChildren(element("h3", {}, title), told, ...link, element("ul", {}, ...cases));
  }

  list(largest) {
    const errorOf = ({ error }) => (error ? [{ name: error, label: "± se" }] : []);
    const columns = this.shown.flatMap((each) => [each, ...errorOf(each)]);
    const value = (i) => [i, ...columns.map(({ name }) => this.values[name][i]), this.context(i)];
    const heads = [{ label: this.view.unit }, ...columns, { label: "where it was largest" }];
    const all = this.values[this.shown[0].name].length;
    const heading = `The ${largest.length} largest of ${all} ${this.view.unit}s:`;
    this.table.replaceChildren(element("p", {}, heading));
    new DataTable(this.table, heads, largest.map(value), { pressed: (row) => this.mark(row[0]) });
  }
}

function largestOf(values) {
  const sizes = values.map(Math.abs);
  const known = sizes.filter((size) => size === size).sort();
  const least = known[Math.max(0, known.length - LARGEST)];
  const kept = [...sizes.keys()].filter((i) => sizes[i] >= least);
  return kept.sort((a, b) => sizes[b] - sizes[a] || a - b).slice(0, LARGEST);
}
