"""What surveys say: one screen of plain sentences and small tables, true to their tables."""

import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.cells import cell_len

import backlight
from backlight import cli, load_results
from backlight.errors import ConfigError
from backlight.surveys import SURVEYS
from backlight.surveys.driver.words.lines import WIDTH
from backlight.surveys.driver.words.screen import NUM_LINES, screen
from backlight.surveys.driver.words.sentences import share, times, with_error
from backlight.tables import Table
from zoo.dictionaries import random_dictionary
from zoo.terminals import terminal

pytestmark = pytest.mark.usefixtures("place")

HOSTILE = "\x1b[2J\x1b]0;owned\x07<img src=x onerror=alert(1)>\u202egnp\r\n" + 30 * "浪漫"
PLACES = [
    "Page      run/index.html",
    "Figures   115 in run",
    "Again     backlight x run/config.yaml",
]


@pytest.fixture(scope="module")
def dictionary():
    return random_dictionary(32, num_features=64, dtype=torch.float32)


@pytest.fixture
def asked(options, dictionary):
    """What each survey is asked in Python."""
    return {
        "layers": options,
        "sae": {
            **options,
            "dictionaries": dict.fromkeys(range(3), dictionary),
            "site": "mlp.out",
            "allow_poor_reconstruction": True,
        },
        "flow": options,
        "tokens": {
            "model_name": options["model_name"],
            "device": "cpu",
            "template": "the {thing} of light comes",
            "answer": " {thing}",
            "fields": {"thing": ["light", "a gradient", "every little word"]},
        },
    }


@pytest.fixture(scope="module")
def known():
    return {}


@pytest.fixture
def found(asked, known, finished_run):
    """Ask a survey, once for all tests that ask the same."""

    def ask(name, **others):
        key = (name, str(others))
        if key not in known:
            if name == "validate":
                known[key] = backlight.validate(ask("layers"), units=20, passages=4, **others)
            elif name == "compare":
                runs = ask("layers"), ask("layers", num_samples=5)
                known[key] = backlight.compare(*runs, **others)
            elif name == "stability":
                known[key] = backlight.stability(finished_run, **others)
            else:
                known[key] = getattr(backlight, name)(**{**asked[name], **others})
        return known[key]

    return ask


def said(name, results, places=PLACES):
    """Lay out the screen of a survey."""
    survey = SURVEYS[name]
    options = survey.options.model_construct(**results.config)
    printed = survey.door("printed")
    lines = screen(printed.summary(results), printed.brief(options, results), places)
    return [line.plain for line in lines]


def summary(name, results):
    sentences = SURVEYS[name].door("printed").summary(results)
    assert 1 <= len(sentences) <= 3
    for each in sentences:
        assert each.endswith(".")
        assert not each[0].islower()
        assert "nan" not in each.split()
    return sentences


def changed(results, table, **columns):
    """Replace columns of a table."""
    old = results.tables[table]
    new = Table(name=table, columns={**old.columns, **columns}, units=old.units)
    return replace(results, tables={**results.tables, table: new})


def assert_is_one_screen(lines):
    assert len(lines) <= NUM_LINES, "\n".join(lines)
    assert max(map(cell_len, lines)) <= WIDTH, "\n".join(lines)
    assert not re.search(r"[\x00-\x1f\u202e]", "".join(lines))


@pytest.mark.parametrize("name", list(SURVEYS))
def test_a_survey_says_three_sentences_on_one_screen(found, name):
    results = found(name)

    sentences = summary(name, results)
    lines = said(name, results)

    assert len(sentences) == 3
    assert_is_one_screen(lines)
    assert len(lines) > (15 if name == "stability" else 18)  # its run has four rows
    assert " ".join(lines).startswith(sentences[0][:60])


@pytest.mark.parametrize("name", list(SURVEYS))
def test_the_summary_of_a_run_read_back_is_the_one_it_had(found, name, place, no_pixels):
    fresh = found(name, output_dir=place / "run")

    assert summary(name, load_results(place / "run")) == summary(name, fresh)


@pytest.mark.parametrize("name", list(SURVEYS))
def test_long_and_hostile_names_and_texts_stay_on_one_screen(found, name):
    results = found(name)
    config = {
        **results.config,
        "model_name": f"/home/{HOSTILE}/{200 * 'm'}",
        "dataset": HOSTILE,
        "site": HOSTILE,
        "template": HOSTILE,
    }
    results = replace(results, config=config)
    for table in results.tables.values():
        words = {
            column: np.array([HOSTILE] * table.num_rows, dtype=object)
            for column in table
            if table[column].dtype.kind in "UO" and column not in ("half", "kind", "format")
        }
        results = changed(results, table.name, **words)

    assert_is_one_screen(said(name, results))


@pytest.mark.parametrize("name", list(SURVEYS))
def test_the_lines_that_a_long_command_takes_count(found, name, monkeypatch):
    terminal(monkeypatch, WIDTH)
    places = ["Page      …/index.html", f"Again     backlight {name} runs/{250 * 'x'}"]

    lines = said(name, found(name), places)

    assert lines[-2:] == places
    assert sum(-(-max(1, cell_len(line)) // WIDTH) for line in lines) <= NUM_LINES


@pytest.mark.parametrize("name", ["layers", "sae", "flow"])
def test_one_layer_is_told_as_one(found, name):
    results = found(name, layers="1")

    assert_is_one_screen(said(name, results))
    assert len(summary(name, results)) == 3


def test_many_layers_are_told_by_the_largest(found):
    results = found("layers")
    layers = results.tables["layers"]
    columns = {column: np.tile(layers[column], 11) for column in layers}
    many = changed(results, "layers", **{**columns, "layer": np.arange(33)})

    lines = said("layers", many)

    assert_is_one_screen(lines)
    assert "in 33 layers" in lines[0]
    assert any(line.endswith(" of 33 rows)") for line in lines)


def test_a_screen_says_of_how_many_rows_it_has_the_largest(found):
    for name, noun, num_all in (("layers", "largest dimensions", 96), ("sae", "largest", 192)):
        lines = said(name, found(name))

        start = next(n for n, line in enumerate(lines) if line.startswith(noun + "  "))
        assert any(line.endswith(f" of {num_all} rows)") for line in lines[start:]), lines


@pytest.mark.parametrize("mode", ["mean_abs", "rms", "both"])
@pytest.mark.parametrize("quantity", ["gradients", "values", "grad_x_act"])
def test_layers_are_ordered_by_what_was_asked(found, quantity, mode):
    results = found("layers", aggregate_by=quantity, aggregation_mode=mode)
    column = "mean_abs" if mode == "both" else mode
    table = results.tables["layers"]
    values, errors = table[column], table[f"{column}_se"]
    top, second, *_, last = np.argsort(-values)

    asked, told, sure = summary("layers", results)

    unit = table.units[column].replace("/", " per ")
    assert f"largest in layer {top} ({with_error(values[top], errors[top])} {unit})" in told
    assert f"smallest in layer {last} ({with_error(values[last], errors[last])})" in told
    assert f"{times(values[top] / values[last])} less" in told
    assert f"layer {second} comes next with {with_error(values[second], errors[second])}" in sure
    assert ("the loss there" in asked) == (quantity != "values")
    dimensions = results.tables["dimensions"]
    row = int(dimensions[column].argmax())
    error = dimensions[f"{column}_se"][row] if column == "mean_abs" else np.nan
    single = with_error(dimensions[column][row], error)
    place = f"{dimensions['dimension'][row]} of layer {dimensions['layer'][row]}"
    assert f"number {place} ({single})" in told


def test_signed_means_are_told_by_how_many_are_sure(found):
    results = found("layers", aggregation_mode="mean")
    table = results.tables["layers"]
    sure = int((np.abs(table["mean"]) > 1.96 * table["mean_se"]).sum())
    top = int(np.abs(table["mean"]).argmax())

    _, told, errors = summary("layers", results)

    assert f"furthest from zero in layer {top} (" in told
    assert f"{sure} of 3 layers ha" in errors


@pytest.mark.parametrize("name", ["layers", "sae", "flow"])
def test_of_one_passage_nothing_is_called_sure(found, name):
    sentences = summary(name, found(name, num_samples=1))

    assert "in 1 passage of" in sentences[0]
    assert not any(re.search(r"\d ± ", each) for each in sentences)
    assert "only one passage" in sentences[0 if name == "flow" else -1]


def test_gradients_that_are_zero_are_said_to_be(found):
    results = found("layers")
    for table in ("layers", "dimensions"):
        nothing = np.zeros(results.tables[table].num_rows)
        results = changed(results, table, mean_abs=nothing, mean_abs_se=nothing)

    assert summary("layers", results)[1:] == ("It is exactly zero everywhere.",)
    assert_is_one_screen(said("layers", results))


def test_a_layer_that_is_zero_is_not_divided_by(found):
    results = found("layers")
    values = results.tables["layers"]["mean_abs"] * [1, 1, 0]

    told = summary("layers", changed(results, "layers", mean_abs=values))[1]

    assert "smallest in layer 2 (" in told
    assert "less" not in told


@pytest.mark.parametrize("mode", ["mean", "mean_abs", "rms", "both"])
@pytest.mark.parametrize("quantity", ["gradients", "values", "grad_x_act"])
def test_features_are_told_with_what_they_are_ordered_by(found, quantity, mode):
    results = found("sae", aggregate_by=quantity, aggregation_mode=mode)
    column = "mean_abs" if mode == "both" else mode
    table = results.tables["top_features"]
    row = int(np.nan_to_num(np.abs(table[column])).argmax())
    error = table[f"{column}_se"][row] if f"{column}_se" in table else np.nan
    layers = results.tables["layers"]

    asked, told, sure = summary("sae", results)

    assert "192 features of 3 dictionaries" in asked
    name = f"feature {table['feature'][row]} of layer {table['layer'][row]}"
    assert name in told
    assert f"of {with_error(table[column][row], error)} " in told
    assert f"fires at {share(table['frequency'][row])} of" in told
    if quantity != "values":
        assert sure.count(share(layers["significant_share"].mean())) == 1
    assert ("no standard error" in sure) == (mode == "rms" and quantity == "values")
    assert_is_one_screen(said("sae", results))


def test_features_that_never_fire_are_said_not_to(found):
    results = found("sae")
    table = results.tables["top_features"]
    nothing = table.select(np.zeros(table.num_rows, dtype=bool))
    empty = replace(results, tables={**results.tables, "top_features": nothing})
    zero = changed(results, "top_features", mean_abs=np.zeros(table.num_rows))

    assert summary("sae", empty)[1] == "Not one feature fired at these tokens."
    assert summary("sae", zero)[1] == "It is exactly zero for every feature."
    assert_is_one_screen(said("sae", empty))


@pytest.mark.parametrize("objective", ["loss", "logit"])
def test_positions_are_told_with_their_sites(found, objective):
    results = found("tokens", objective=objective, sites="resid.post,attn.q")
    table = results.tables["positions"]
    table = table.select(np.isnan(table["head"]) & (table["num_reaching"] > 0))
    first, second, *_ = np.argsort(-table["gradient_norm"], kind="stable")

    asked, told, sure = summary("tokens", results)

    def estimate(row):
        return with_error(table["gradient_norm"][row], table["gradient_norm_se"][row])

    assert "3 prompts of the template “the {thing} of light comes”" in asked
    assert f"“{table['position'][first]}” at {table['site'][first]}, {estimate(first)}" in told
    assert f"“{table['position'][second]}” at {table['site'][second]} comes next" in sure
    assert estimate(second) in sure


def test_one_prompt_has_no_errors(found):
    sentences = summary("tokens", found("tokens", fields={"thing": ["light"]}))

    assert "over 1 prompt of" in sentences[0]
    assert "there is only one prompt" in sentences[2]


def test_positions_without_a_gradient_are_said_to_have_none(found):
    results = found("tokens")
    nothing = np.zeros(results.tables["positions"].num_rows)

    zero = changed(results, "positions", gradient_norm=nothing, gradient_norm_se=nothing)

    assert summary("tokens", zero)[1:] == ("The gradient is exactly zero at every position.",)
    assert_is_one_screen(said("tokens", zero))


def test_the_way_back_is_told_from_its_ends(found):
    results = found("flow")
    depth, slope = results.tables["depth"], results.tables["depth_slope"]

    _, told, branches = summary("flow", results)

    for row in (0, -1):
        assert with_error(depth["gradient_norm"][row], depth["gradient_norm_se"][row]) in told
    assert ("grows" in told) == (depth["gradient_norm"][0] > depth["gradient_norm"][-1])
    assert f"{100 * np.expm1(slope['slope'][0]):+.1f} % per layer" in told
    residual = results.tables["residual"]
    top = int(residual["transform_share"].argmax())
    assert f"of layer {residual['layer'][top]} carries the largest share" in branches
    part = share(residual["transform_share"][top], residual["transform_share_se"][top])
    assert part in branches


@pytest.mark.parametrize("view", ["norms", "attention", "residual"])
def test_a_view_alone_is_told_alone(found, view):
    results = found("flow", view=view)

    sentences = summary("flow", results)

    assert len(sentences) == (3 if view == "residual" else 2)
    assert_is_one_screen(said("flow", results))


def test_a_flow_of_nothing_is_said_to_be_nothing(found):
    results = found("flow")
    depth = results.tables["depth"]
    nothing = changed(results, "depth", gradient_norm=np.zeros(depth.num_rows))

    assert "exactly zero at one end" in summary("flow", nothing)[1]


def test_a_number_on_the_screen_is_the_one_of_the_table(found):
    results = found("layers")
    layers = results.tables["layers"]

    row = next(line for line in said("layers", results) if line.startswith("largest layers"))
    lines = said("layers", results)
    first = lines[lines.index(row) + 1].replace("~", "").split()

    top = int(layers["mean_abs"].argmax())
    assert first[0] == str(layers["layer"][top])
    assert float(first[1]) == pytest.approx(layers["mean_abs"][top], rel=0.05)
    assert first[4] == str(layers["mean_abs_top"][top])


def words(options, *more):
    line = ["layers"]
    for key, value in options.items():
        line += [f"--{key}", str(value)]
    return [*line, *more]


def test_the_whole_output_of_a_command_is_one_screen(options, capsys, no_figures):
    assert cli.main(words(options, "--output_dir", "run")) == 0

    lines = capsys.readouterr().out.splitlines()
    assert_is_one_screen(lines)
    assert lines[-2:] == [
        "Tables    run/tables/*.csv",
        "Again     backlight layers run/config.yaml",
    ]


def test_table_prints_every_row(options, capsys):
    assert cli.main(words(options, "--table")) == 0

    out = capsys.readouterr().out
    assert "gradients at mlp.out (nats/unit)" in out
    assert len(re.findall(r"^│ +\d │", out, re.MULTILINE)) == 3
    assert "clustered by passage" in out


def test_quiet_prints_the_path_alone(options, capsys, no_figures):
    assert cli.main(words(options, "--output_dir", "run", "--quiet")) == 0
    assert capsys.readouterr().out == "run\n"

    assert cli.main(words(options, "--quiet")) == 0
    assert capsys.readouterr().out == ""


def test_quiet_writes_nothing_to_standard_error(options):
    line = [sys.executable, "-m", "backlight", *words(options, "--quiet", "--output_dir", "run")]

    done = subprocess.run(line, capture_output=True, text=True, check=True)

    assert (done.stdout, done.stderr) == ("run\n", "")


def test_a_run_is_the_same_however_much_is_printed(options, capsys, no_figures):
    assert cli.main(words(options, "--output_dir", "run", "--quiet")) == 0
    assert not {"quiet", "table"} & set(load_results("run").config)
    capsys.readouterr()

    assert cli.main(words(options, "--output_dir", "run", "--resume", "--table")) == 0

    assert "gradients at mlp.out (nats/unit)" in capsys.readouterr().out


def test_all_and_nothing_cannot_both_be_printed(options, capsys):
    assert cli.main(words(options, "--quiet", "--table")) == 2

    assert "--table and --quiet exclude each other" in capsys.readouterr().err


def test_a_caller_in_python_is_told_where_tables_are(options):
    with pytest.raises(ConfigError, match=r"in Python they are in results\.tables"):
        backlight.layers(**options, table=True)
    with pytest.raises(ConfigError, match=r"in Python they are in results\.tables"):
        backlight.lab("rank-collapse", table=True)


def test_a_caller_in_python_can_do_without_progress(options, capsys):
    backlight.layers(**options, quiet=True)

    assert capsys.readouterr() == ("", "")


def test_sentences_about_a_run_on_disk_need_no_torch(finished_run):
    code = (
        "import sys\n"
        "from backlight.runs.results import load_results\n"
        "from backlight.surveys import SURVEYS\n"
        "for survey in SURVEYS.values(): survey.door('printed')\n"
        f"print(*SURVEYS['layers'].door('printed').summary(load_results({str(finished_run)!r})))\n"
        "assert 'torch' not in sys.modules\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "was measured in 2 layers" in done.stdout


@pytest.mark.parametrize(
    ("name", "others", "grows"),
    [
        ("layers", {}, "site"),
        ("layers", {"aggregate_by": "grad_x_act"}, "site"),
        ("sae", {"splice": "error"}, "site"),
        ("sae", {"splice": "replace"}, "reconstruction"),
        ("tokens", {}, "site"),
    ],
)
def test_a_survey_along_paths_says_of_what_its_gradients_are_averages(found, name, others, grows):
    results = found(name, path=2, **others)

    sentences = summary(name, results)
    lines = said(name, results)

    assert_is_one_screen(lines)
    assert f"averaged along the path on which the {grows} grows from zero (2 nodes)" in sentences[0]
    assert "Paths of 2 nodes: what they add up to misses" in " ".join(lines)
    shown = list(SURVEYS[name].door("printed").tables(options_of(name, results), results))
    assert shown[-1].table is results.tables["completeness"]
    assert "averaged along paths" in shown[0].title


def options_of(name, results):
    return SURVEYS[name].options.model_construct(**results.config)
