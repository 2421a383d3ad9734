// Maps of coloured cells, points in planes, diagrams: one of several that can be chosen.
/** Show menus of choices, and below them what belongs to what was chosen. @param {HTMLElement} host */
function chooseAmong(host, { choices }, found, draw) {
  const stage = element("div");
  const chosen = Object.keys(found)[0].split("/");
  const menus = choices.map(({ label, options }, which) =>
    menu(label, options, (place) => {
      chosen[which] = String(place);
      const nearest = Object.keys(found).find((key) => key.split("/")[which] === String(place));
      const key = chosen.join("/") in found ? chosen.join("/") : nearest;
      key?.split("/").forEach((part, i) => (menus[i].select.value = chosen[i] = part));
      draw(stage, found[chosen.join("/")]);
    }),
  );
  const offered = menus.filter((_, which) => choices[which].options.length > 1).map((each) => each.label);
  host.append(element("div", { class: "controls" }, ...offered), stage);
  draw(stage, found[chosen.join("/")]);
}

function drawCellMap(host, view, name) {
  chooseAmong(host, view, view.maps, async (stage, map) => {
    const [values, marks, errors] = await Promise.all([map.values, map.marks, map.errors].map(numbers));
    new Chart(stage, name, new PointPicture(cellsOf(view, map, values, marks, errors)));
  });
}

/** @returns {Points} */
function cellsOf({ rows, rowLabel, columnLabel, reasons }, map, values, marks, errors) {
  const { label, scale: kind, columns, names, palette } = map;
  const width = columns.length;
  const isColoured = (i) => !(marks[i] > 0) && values[i] === values[i];
  const known = values.filter((_, i) => isColoured(i));
  const most = known.reduce((a, b) => Math.max(a, Math.abs(b)), 0) || 1;
  const scale = kind === "signed" ? { low: -most, high: most, bend: most / 100, kind } : scaleOf([known], kind, 0);
  const colour = (part) => palette[Math.round((palette.length - 1) * Math.min(1, Math.max(0, part || 0)))];
  return {
    ...{ label: `${label}: ${rowLabel} against ${columnLabel}`, title: label, xLabel: columnLabel, yLabel: rowLabel },
    ...{ x: values.map((_, i) => i % width), y: values.map((_, i) => Math.floor(i / width)), hasDot: () => false },
    ...{ xNames: columns, yNames: rows },
    legend: [0, 0.5, 1].map((part) => [brief(valueAt(scale, part)), colour(part)]),
    lines(i) {
      const error = errors[i] === errors[i] && i in errors ? ` ± ${brief(errors[i], 2)}` : "";
      const what = isColoured(i) ? `${label}: ${brief(values[i], 4)}${error}` : (reasons[marks[i] - 1] ?? "not known");
      const column = `${columnLabel}: ${columns[i % width]}${names.length ? ` (${names[i % width]})` : ""}`;
      return [`${rowLabel} ${rows[Math.floor(i / width)]}`, column, what, reasons[-marks[i] - 1]].filter(Boolean);
    },
    under(pen, colours, right, up) {
      const [part, size] = [partOf(scale), { width: right(1) - right(0) + 0.3, height: up(0) - up(1) + 0.3 }];
      values.forEach((value, i) => {
        const [x, y] = [right((i % width) - 0.5), up(Math.floor(i / width) + 0.5)];
        pen.box({ x, y, ...size }, isColoured(i) ? colour(part(value)) : colours.line);
        if (marks[i] < 0) pen.dots([x + size.width / 2, y + size.height / 2], 2.4, { fill: colours.star });
        if (marks[i] === 1) pen.path([x, y + size.height, x + size.width, y], { stroke: colours.soft });
      });
    },
  };
}

async function drawScatter(host, view, name) {
  const about = await texts(view.texts);
  chooseAmong(host, view, view.planes, async (stage, [sheet, colouring]) => {
    const { xLabel, yLabel, ...where } = view.sheets[sheet];
    const [x, y, owners] = await Promise.all([where.x, where.y, where.points].map(numbers));
    const { colours = [], legend = [], told = [], label = "" } = view.colourings[colouring] ?? {};
    const lines = (i) => [about[owners[i]], `${label}: ${told[owners[i]]}`].slice(0, label ? 2 : 1);
    const looks = { legend, lines, colourOf: (i) => colours[owners[i]] ?? "first" };
    new Chart(stage, name, new PointPicture({ label: `${yLabel} against ${xLabel}`, xLabel, yLabel, x, y, ...looks }));
  });
}

/** Draw shapes that tell their numbers where they are pointed at. @param {HTMLElement} host */
function drawDiagram(host, { label, aspect, width: most, shapes, x, y, told }, name) {
  host.style.maxWidth = `${most}px`;
  const under = (pen, colours, right) => {
    for (const { kind, points, paint, opacity: alpha, width, text, align } of shapes) {
      const [places, colour] = [points.map(right), colours[paint]];
      if (kind === "text") pen.text(text, places[0], places[1], { size: right(width), fill: colour, align });
      else if (kind === "line") pen.path(places, { stroke: colour, width: right(width), alpha });
      else pen.path(places, { fill: colour, alpha });
    }
  };
  const bare = { isBare: true, xLabel: "", yLabel: "", hasDot: () => false };
  new Chart(host, name, new PointPicture({ ...bare, label, aspect, x, y, under, lines: (i) => told[i].split("\n") }));
}
