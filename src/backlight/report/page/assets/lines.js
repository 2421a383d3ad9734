// Charts of lines with bands, such as the depth profile of each statistic.

const SERIES = ["first", "second", "third", "fourth", "fifth", "sixth"];

/** @param {HTMLElement} host @param {any} view @param {string} name */
async function drawLines(host, view, name) {
  host.classList.add("side-by-side");
  for (const [number, chart] of view.charts.entries()) {
    const place = host.appendChild(element("div"));
    new Chart(place, `${name}-${number + 1}`, new PointPicture(await pointsOf(chart)));
  }
}

/** Turn a chart into points, with lines and bands below them. @param {any} chart @returns {Promise<Points>} */
async function pointsOf({ title, x: xLabel, y: yLabel, series, levels, categories, scales }) {
  const [xs, ys, lows, highs] = await Promise.all(
    ["x", "y", "low", "high"].map((part) => Promise.all(series.map((each) => numbers(each[part] ?? each.y)))),
  );
  const [x, y, low, high] = [xs, ys, lows, highs].map((parts) => parts.flatMap((values) => [...values]));
  const owner = ys.flatMap((values, which) => Array.from(values, () => which));
  const isJoined = (/** @type {number} */ which) => series[which].joined && !categories.length;
  return {
    ...{ label: `${title || yLabel} against ${xLabel}`, title, xLabel, yLabel, x, y, low, high },
    ...{ xNames: categories, xKind: scales[0], yKind: scales[1], levels: levels.map((each) => each[1]) },
    legend: [...series.map(({ name }, i) => [name, SERIES[i % 6]]).filter(([name]) => name), ...levels.map(([name]) => [name, "soft"])],
    hasBar: (i) => Boolean(series[owner[i]].low) && (!isJoined(owner[i]) || xs[owner[i]].length < 4),
    hasDot: (i) => xs[owner[i]].length < 100 && !series[owner[i]].dashed,
    colourOf: (i) => SERIES[owner[i] % 6],
    lines(i) {
      const { name, low: hasEnds } = series[owner[i]];
      const told = [name, `${xLabel}: ${categories[x[i]] ?? brief(x[i], 4)}`, `${yLabel}: ${brief(y[i], 4)}`];
      return [...told, hasEnds ? `interval: ${brief(low[i])} to ${brief(high[i])}` : ""].filter(Boolean);
    },
    under(pen, colours, right, up) {
      for (const [which, each] of series.entries()) {
        if (!isJoined(which)) continue;
        const along = (/** @type {Float64Array} */ heights) => Array.from(heights, (height, i) => [right(xs[which][i]), up(height)]);
        const band = [...along(lows[which]), ...along(highs[which]).reverse()].filter((ends) => ends.every(Number.isFinite));
        const stroke = colours[SERIES[which % 6]];
        if (each.low) pen.path(band.flat(), { fill: stroke, alpha: 0.2 });
        pen.path(along(ys[which]).flat(), { stroke, width: 1.6, dash: each.dashed });
      }
    },
  };
}
