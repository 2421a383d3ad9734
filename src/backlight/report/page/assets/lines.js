// Charts of lines with bands, such as the depth profile of each statistic.
async function drawLines(host, view, name) {
  host.classList.add("side-by-side");
  const all = await Promise.all(view.charts.map(pointsOf));
  const places = all.map(() => host.appendChild(element("div")));
  all.forEach((points, i) => new Chart(places[i], `${name}-${i + 1}`, new PointPicture(points)));
}

/** Turn a chart into points, with lines and bands below them. @returns {Promise<Points>} */
async function pointsOf({ title, x: xLabel, y: yLabel, series, levels, marks, categories, scales }) {
  const all = (part) => Promise.all(series.map((each) => numbers(each[part] ?? each.y)));
  const [xs, ys, lows, highs] = await Promise.all(["x", "y", "low", "high"].map(all));
  const owner = ys.flatMap((values, which) => Array.from(values, () => which));
  const isJoined = (which) => series[which].joined && !categories.length;
  const [x, y, low, high] = [xs, ys, lows, highs].map((each) => each.flatMap((values) => [...values]));
  const names = [...series.map(({ legend, paint }) => [legend, paint]), ...levels.map(([name]) => [name, "soft"])];
  return {
    ...{ label: `${title || yLabel} against ${xLabel}`, title, xLabel, yLabel, x, y, low, high, xNames: categories },
    ...{ xKind: scales[0], yKind: scales[1] },
    ...{ levels: levels.map((each) => each[1]), marks: marks.map((each) => each[1]) },
    legend: [...names, ...marks.map(([name]) => [name, "star"])].filter(([name]) => name),
    hasBar: (i) => !isJoined(owner[i]) || xs[owner[i]].length < 4,
    hasDot: (i) => xs[owner[i]].length < 100 && !series[owner[i]].dashed,
    colourOf: (i) => series[owner[i]].paint,
    lines(i) {
      const { name, low: hasEnds } = series[owner[i]];
      const place = categories[Math.round(x[i])] ?? brief(x[i], 4);
      const told = [name, `${xLabel}: ${place}`, `${yLabel}: ${brief(y[i], 4)}`];
      return [...told, hasEnds ? `interval: ${brief(low[i])} to ${brief(high[i])}` : ""].filter(Boolean);
    },
    under(pen, colours, right, up) {
      for (const [which, each] of series.entries()) {
        if (!isJoined(which)) continue;
        const along = (heights) => Array.from(heights, (height, i) => [right(xs[which][i]), up(height)]);
        const band = [...along(lows[which]), ...along(highs[which]).reverse()];
        const stroke = colours[each.paint] ?? each.paint;
        const isKnown = (ends) => ends.every(Number.isFinite);
        if (each.low) pen.path(band.filter(isKnown).flat(), { fill: stroke, alpha: 0.2 });
        pen.path(along(ys[which]).flat(), { stroke, width: 1.6, dash: each.dashed });
      }
    },
  };
}
