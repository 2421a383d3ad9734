// Maps of coloured cells, and points in planes: one of several that can be chosen.

const SIZES = ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725"];
const SIGNS = ["#053061", "#2f79b5", "#7bb6d6", "#c9e0ed", "#f7f7f7", "#fbd0b9", "#ec8f6f", "#ba2832", "#67001f"];

/** Mix a colour of a map. @param {string[]} map @param {number} part between 0 and 1 */
function mixed(map, part) {
  const place = Math.min(0.9999, Math.max(0, part || 0)) * (map.length - 1);
  const byte = (/** @type {number} */ step, /** @type {number} */ k) => Number.parseInt(map[Math.floor(place) + step].slice(k, k + 2), 16);
  return `#${[1, 3, 5].map((k) => Math.round(byte(0, k) + (byte(1, k) - byte(0, k)) * (place % 1)).toString(16).padStart(2, "0")).join("")}`;
}

/** Show menus of choices, and below them what belongs to what was chosen.
 * @param {HTMLElement} host @param {any} view @param {Record<string, any>} found @param {(stage: HTMLElement, found: any) => void} draw */
function chooseAmong(host, view, found, draw) {
  const stage = element("div");
  const chosen = Object.keys(found)[0].split("/");
  const menus = view.choices.map(({ label, options }, which) =>
    menu(label, options, (place) => {
      chosen[which] = String(place);
      const key = chosen.join("/") in found ? chosen.join("/") : Object.keys(found).find((each) => each.split("/")[which] === String(place));
      key?.split("/").forEach((part, i) => (menus[i].select.value = chosen[i] = part));
      draw(stage, found[chosen.join("/")]);
    }),
  );
  host.append(element("div", { class: "controls" }, ...menus.map((each) => each.label)), stage);
  draw(stage, found[chosen.join("/")]);
}

/** @param {HTMLElement} host @param {any} view @param {string} name */
function drawCellMap(host, view, name) {
  chooseAmong(host, view, view.maps, async (stage, map) => {
    const [values, marks, errors] = await Promise.all([map.values, map.marks, map.errors].map(numbers));
    new Chart(stage, name, new PointPicture(cellsOf(view, map, values, marks, errors)));
  });
}

/** @param {any} view @param {any} map @param {Float64Array} values @param {Float64Array} marks @param {Float64Array} errors @returns {Points} */
function cellsOf({ rows, rowLabel, columnLabel, reasons }, { label, scale: kind, columns, names }, values, marks, errors) {
  const width = columns.length;
  const isColoured = (/** @type {number} */ i) => !marks[i] && values[i] === values[i];
  const known = values.filter((_, i) => isColoured(i));
  const most = known.reduce((a, b) => Math.max(a, Math.abs(b)), 0) || 1;
  const scale = kind === "signed" ? { low: -most, high: most, bend: most / 100, kind } : scaleOf([known], kind, 0);
  const colour = (/** @type {number} */ part) => mixed(kind === "signed" ? SIGNS : SIZES, part);
  return {
    ...{ label: `${label}: ${rowLabel} against ${columnLabel}`, title: label, xLabel: columnLabel, yLabel: rowLabel, xNames: columns, yNames: rows },
    ...{ x: values.map((_, i) => i % width), y: values.map((_, i) => Math.floor(i / width)), hasDot: () => false },
    legend: [0, 0.5, 1].map((part) => [brief(valueAt(scale, part)), colour(part)]),
    lines(i) {
      const error = errors[i] === errors[i] && i in errors ? ` ± ${brief(errors[i], 2)}` : "";
      const what = isColoured(i) ? `${label}: ${brief(values[i], 4)}${error}` : (reasons[marks[i] - 1] ?? "not known");
      return [`${rowLabel} ${rows[Math.floor(i / width)]}`, `${columns[i % width]}${names.length ? ` (${names[i % width]})` : ""}`, what];
    },
    under(pen, colours, right, up) {
      const [part, size] = [partOf(scale), { width: right(1) - right(0) + 0.3, height: up(0) - up(1) + 0.3 }];
      values.forEach((value, i) => {
        const corner = { x: right((i % width) - 0.5), y: up(Math.floor(i / width) + 0.5), ...size };
        pen.box(corner, isColoured(i) ? colour(part(value)) : colours.line);
        if (marks[i] === 1) pen.path([corner.x, corner.y + size.height, corner.x + size.width, corner.y], { stroke: colours.soft });
      });
    },
  };
}

/** @param {HTMLElement} host @param {any} view @param {string} name */
async function drawScatter(host, view, name) {
  const about = await texts(view.texts);
  let colouring = view.colourings[0];
  let redraw = () => {};
  const colour = menu("Colour", view.colourings.map((each) => each.label), (place) => {
    colouring = view.colourings[place];
    redraw();
  });
  if (view.colourings.length > 1) host.append(element("div", { class: "controls" }, colour.label));
  chooseAmong(host, view, view.planes, (stage, { x, y, xLabel, yLabel, points }) => {
    redraw = async () => {
      const [xs, ys, owners] = await Promise.all([x, y, points].map(numbers));
      const { colours = [], legend = [], told = [], label = "" } = colouring ?? {};
      const lines = (/** @type {number} */ i) => [about[owners[i]], `${label}: ${told[owners[i]]}`].slice(0, label ? 2 : 1);
      const colourOf = (/** @type {number} */ i) => colours[owners[i]] ?? "first";
      const picture = { label: `${yLabel} against ${xLabel}`, xLabel, yLabel, x: xs, y: ys, lines, legend, colourOf };
      new Chart(stage, name, new PointPicture(picture));
    };
    redraw();
  });
}

/** Draw shapes that tell their numbers where they are pointed at. @param {HTMLElement} host @param {any} view @param {string} name */
function drawDiagram(host, { label, aspect, shapes, x, y, told }, name) {
  const under = (/** @type {Pen} */ pen, /** @type {Theme} */ colours, /** @type {(x: number) => number} */ right) => {
    for (const { kind, points, paint, opacity: alpha, width, text, align } of shapes) {
      const places = points.map(right);
      if (kind === "text") pen.text(text, places[0], places[1], { size: right(width), fill: colours[paint], align });
      else pen.path(places, kind === "line" ? { stroke: colours[paint], width: right(width), alpha } : { fill: colours[paint], alpha });
    }
  };
  const points = { label, aspect, x, y, under, isBare: true, xLabel: "", yLabel: "", hasDot: () => false };
  new Chart(host, name, new PointPicture({ ...points, lines: (i) => told[i].split("\n") }));
}
