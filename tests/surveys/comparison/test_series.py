"""More than two runs are a series: each against the first, or the one before."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import backlight
from backlight import cli
from backlight.errors import ConfigError
from backlight.surveys import SURVEYS
from backlight.surveys.comparison.printed import brief, summary

TEXTS = [
    [f"the light {word} comes back {word}" for word in ("red", "blue", "green", "old", "new")],
    [f"a gradient of {word} goes to {word}" for word in ("sand", "iron", "wood", "wool")],
    [f"every {word} is a little {word}" for word in ("step", "word", "sea", "king", "tree")],
]


@pytest.fixture(scope="module")
def series(tmp_path_factory, model_folder):
    """Three runs of one model."""
    folder = tmp_path_factory.mktemp("series")
    for name, texts in zip(("early", "middle", "late"), TEXTS, strict=True):
        backlight.layers(
            model_name=str(model_folder),
            dataset=texts,
            device="cpu",
            dtype="float64",
            figures="none",
            output_dir=folder / name,
        )
    return [folder / name for name in ("early", "middle", "late")]


@pytest.mark.parametrize(("against", "others"), [("first", (0, 0)), ("previous", (0, 1))])
def test_each_pair_of_a_series_is_what_the_two_runs_alone_give_but_for_the_rate(
    series, against, others
):
    found = backlight.compare(*series, against=against)

    p = []
    for number, before in enumerate(others, start=1):
        alone = backlight.compare(series[before], series[number])
        for name, values in alone.data.items():
            if not name.endswith("_q"):
                np.testing.assert_array_equal(found.data[f"run_{number}_{name}"], values)
        p += [values for name, values in alone.data.items() if name.endswith("_p")]
    p = np.concatenate(p)
    q = np.concatenate([values for name, values in found.data.items() if name.endswith("_q")])
    known = ~np.isnan(p)
    np.testing.assert_allclose(q[known], stats.false_discovery_control(p[known]))
    layers = found.tables["layers"]
    names = ["early", "middle", "late"]
    assert list(dict.fromkeys(layers["run"])) == names[1:]
    assert list(dict.fromkeys(layers["against"])) == [names[each] for each in dict.fromkeys(others)]


def test_the_table_of_moves_has_the_medians_of_every_run(series):
    found = backlight.compare(*series)

    table = found.tables["moves"]
    for number, path in enumerate(series):
        run = backlight.load_results(path).tables["dimensions"]
        for layer in np.unique(run["layer"]):
            (row,) = np.flatnonzero((table["number"] == number) & (table["layer"] == layer))
            low, median, high = np.percentile(run["mean_abs"][run["layer"] == layer], (25, 50, 75))
            assert table["median"][row] == pytest.approx(median)
            assert (table["low"][row], table["high"][row]) == pytest.approx((low, high))
    assert np.isnan(table["differ"][table["number"] == 0]).all()


def test_a_series_is_printed_drawn_and_repeated(series, place, capsys):
    assert cli.main(["compare", *map(str, series), "--output_dir", "first"]) == 0

    printed = capsys.readouterr().out
    assert "Of 3 runs of `backlight layers`, the first (early) was compared with each of" in printed
    assert {"moves.png", "index.html"} <= {path.name for path in Path("first").iterdir()}
    assert cli.main(["compare", "first/config.yaml", "--output_dir", "second", "--table"]) == 0
    one, other = (backlight.load_results(name) for name in ("first", "second"))
    assert one.tables == other.tables


@pytest.mark.parametrize("against", ["first", "previous"])
def test_each_run_of_a_series_is_named_once(series, against):
    found = backlight.compare(*series, against=against)

    told = summary(found)[0]

    assert [told.count(path.name) for path in series] == [1, 1, 1]
    many = {**found.metadata, "series": [{"label": f"run{number}"} for number in range(40)]}
    told = summary(replace(found, metadata=many))[0]
    assert told.startswith("Of 40 runs of `backlight layers`")
    assert re.findall(r"run(\d+)", told)[:2] == ["0", "1"]
    assert "..., run39)" in told
    assert len(re.findall(r"run\d+", told)) < 10


@pytest.mark.parametrize("num_runs", [2, 3])
def test_the_surest_come_first_by_q_and_then_by_the_size_of_t(series, num_runs):
    found = backlight.compare(*series[:num_runs])

    table = found.tables["differences"]
    q, t = np.nan_to_num(table["q"], nan=9), np.nan_to_num(table["t"])
    keys = list(zip(q, -np.abs(t), strict=True))
    assert keys == sorted(keys)
    shown = [each for each in brief(None, found) if not isinstance(each, str)][-1].table
    np.testing.assert_array_equal(shown["index"], table["index"][: shown.num_rows])
    assert "by q, then by |t|" in list(brief(None, found))[-1]


def test_a_run_of_a_series_that_does_not_fit_is_named_in_one_sentence(series):
    runs = [backlight.load_results(path) for path in series]
    table = runs[2].tables["dimensions"]
    narrow = table.select(table["dimension"] < 3)
    misfit = replace(runs[2], tables={**runs[2].tables, "dimensions": narrow})

    with pytest.raises(ConfigError, match=r"'early' and 'late': Layer 0 has .* dimensions in one"):
        backlight.compare(runs[0], runs[1], misfit)
    other = replace(runs[2], config={**runs[2].config, "site": "attn.out"})
    with pytest.raises(ConfigError, match=r"'early' and 'late' differ in site"):
        backlight.compare(runs[0], runs[1], other)


def test_runs_in_memory_that_read_the_same_passages_are_paired_and_can_be_split(model_folder):
    options = {"model_name": str(model_folder), "device": "cpu", "dtype": "float64"}
    one, other = (
        backlight.layers(dataset=TEXTS[0], site=site, **options) for site in ("mlp.out", "attn.out")
    )
    elsewhere = backlight.layers(dataset=TEXTS[1], site="attn.out", **options)

    found = backlight.compare(one, other, elsewhere, allow_different="site")

    told = dict(zip(found.tables["layers"]["run"], found.tables["layers"]["errors"], strict=True))
    assert list(told.values()) == ["paired", "unpaired"]
    assert backlight.stability(one).tables["layers"]["num_groups"][0] == len(TEXTS[0])


def test_units_that_differ_come_with_the_tokens_where_they_mattered_most(series):
    runs = [backlight.load_results(path) for path in series[:2]]

    table = backlight.compare(*runs).tables["differences"]

    larger = [0 if a >= b else 1 for a, b in zip(table["a"], table["b"], strict=True)]
    for row, place in enumerate(larger[:20]):
        top = runs[place].tables["top_tokens"]
        own = (top["layer"] == table["layer"][row]) & (top["dimension"] == table["index"][row])
        contexts = list(dict.fromkeys(top["context"][own]))[:2]
        assert table["context"][row] == " | ".join(contexts)


def test_what_is_surely_higher_on_each_side_is_drawn_with_its_tokens(series):
    found = backlight.compare(*series[:2], q=0.5)
    assert found.metadata["num_sure"]

    figure = found.figures["surest"]

    told = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert any("«" in text for text in told)
    bars = figure.axes[0].patches
    sure = found.tables["differences"]["higher_in"]
    assert len(bars) == sum(min(10, int((sure == side).sum())) for side in "ab")
    assert SURVEYS["compare"].door("figures")
