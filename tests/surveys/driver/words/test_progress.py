"""Progress: what is shown in a terminal and in a log, and how often it is asked what was found."""

import io
import re
import sys
import time
import types
from itertools import pairwise

import pytest
import torch
from rich.console import Console

from backlight import cli, layers
from backlight.stats.progress import Progress
from backlight.surveys import SURVEYS
from backlight.surveys.driver import conduct
from backlight.surveys.driver.clock import Clock
from backlight.surveys.driver.material.opening import Opening
from backlight.surveys.driver.words import bars, progress
from backlight.surveys.driver.words.bars import progress_line
from backlight.surveys.driver.words.progress import Bar
from backlight.surveys.driver.words.sentences import with_error
from zoo.dictionaries import random_dictionary


@pytest.fixture
def at_once(monkeypatch):
    """Tell everything at each step."""
    monkeypatch.setattr(bars, "LOG_SECONDS", 0.0)
    monkeypatch.setattr(progress, "FOUND_SECONDS", 0.0)
    monkeypatch.setattr(progress, "FOUND_PATIENCE", 0)


@pytest.mark.parametrize(
    ("done", "rate", "unit", "told"),
    [
        (450, 1234.4, "tokens", "layers: 45 %, 1,234 tokens/s, 0 s left"),
        (450, 4.6, "tokens", "layers: 45 %, 5 tokens/s, 2 min left"),
        (450, 0.1, "tokens", "layers: 45 %, 6 tokens/min, 1 h 31 min left"),
        (0, 0.0, "tokens", "layers: 0 %"),
        (3, 0.5, "trials", "layers: 3 of 1,000, 33 min left"),
    ],
)
def test_a_line_tells_how_far_how_quickly_and_how_long_still(done, rate, unit, told):
    assert progress_line("layers", done=done, total=1000, rate=rate, unit=unit) == told


def test_a_log_gets_a_line_with_what_was_found(at_once, capsys):
    with Bar("a \x1b[2Jtitle", total=20, found=lambda: "largest so far: layer 3") as bar:
        bar.after(Progress(num_tokens=5))
        bar.after(Progress(num_tokens=5))

    first, then = capsys.readouterr().err.splitlines()
    assert first == r"a \x1b[2Jtitle: 25 %; largest so far: layer 3"
    assert re.fullmatch(
        r"a \\x1b\[2Jtitle: 50 %, [\d,]+ tokens/s, 0 s left; largest so far: layer 3", then
    )


def test_a_notebook_gets_one_line_that_is_gone_in_the_end(monkeypatch):
    written = []

    class Place:
        def update(self, data, raw):
            assert raw
            written.append(data["text/plain"])

    there = types.ModuleType("IPython.display")
    there.display = lambda data, raw, display_id: Place()
    monkeypatch.setitem(sys.modules, "IPython.display", there)
    monkeypatch.setattr(bars, "NOTEBOOK_SECONDS", 0.0)
    monkeypatch.setattr(bars, "console", lambda **_: types.SimpleNamespace(is_jupyter=True))

    with Bar("layers", total=20) as bar:
        bar.after(Progress(num_tokens=5))

    assert written[0].startswith("layers: 25 %")
    assert written[-1] == ""


def test_a_log_gets_no_line_of_work_that_is_done_soon(capsys):
    with Bar("layers", total=20) as bar:
        for _ in range(4):
            bar.after(Progress(num_tokens=5))

    assert capsys.readouterr().err == ""


@pytest.fixture
def now(monkeypatch):
    """A clock that stands still until a test moves it."""
    seconds = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: seconds[0])
    return seconds


def test_work_that_was_done_before_is_not_counted_into_the_rate(now, capsys):
    with Bar("layers", total=2000, done=1000) as bar:
        for _ in range(10):
            now[0] += 10
            bar.after(Progress(num_tokens=50))

    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "layers: 58 %, 5 tokens/s, 3 min left",
        "layers: 65 %, 5 tokens/s, 2 min left",
        "layers: 72 %, 5 tokens/s, 2 min left",
    ]


def test_a_first_batch_that_waits_for_much_does_not_make_what_is_left_long(now, capsys):
    with Bar("layers", total=1000) as bar:
        now[0] += 100
        for _ in range(2):
            bar.after(Progress(num_tokens=50))
            now[0] += 50

    assert capsys.readouterr().err.splitlines() == [
        "layers: 5 %",
        "layers: 10 %, 1 tokens/s, 15 min left",
    ]


def test_a_terminal_shows_a_bar_and_below_it_what_was_found(at_once, monkeypatch):
    shown = io.StringIO()
    terminal = Console(file=shown, force_terminal=True, width=100, _environ={"TERM": "xterm"})
    monkeypatch.setattr(bars, "console", lambda stderr: terminal)

    with Bar("layers", total=20, found=lambda: "largest so far: \x1b[2J layer 3") as bar:
        bar.after(Progress(num_tokens=5))

    assert "25%" in shown.getvalue()
    assert "\nlargest so far: \\x1b[2J layer 3" in shown.getvalue().replace("\r", "")


def test_nothing_is_shown_or_asked_if_it_is_to_be_quiet(at_once, capsys):
    with Bar("layers", total=20, found=lambda: pytest.fail("asked"), quiet=True) as bar:
        bar.tell("more layers")
        bar.after(Progress(num_tokens=5))

    assert capsys.readouterr().err == ""


def test_what_takes_long_to_say_is_seldom_asked(now, capsys):
    asked = []

    def found():
        asked.append(now[0])
        now[0] += 0.1
        return "something"

    with Bar("layers", total=10**6, found=found) as bar:
        for _ in range(2000):
            bar.after(Progress(num_tokens=1))
            now[0] += 0.1

    assert asked[0] == pytest.approx(2.0)
    assert all(later - earlier > 40 for earlier, later in pairwise(asked))
    assert len(asked) * 0.1 < 0.005 * now[0]


FOUND = {
    "layers": r"largest so far: layer \d, mean abs [\d.e-]+ ± [\d.e-]+; loss \d\.\d+",
    "sae": r"largest so far: feature \d+ of layer \d, mean abs [\d.e-]+ ± [\d.e-]+; loss \d\.\d+",
    "flow": r"so far: gradient .+ at the last layer, .+ at the embedding; loss \d\.\d+",
    "tokens": r"largest so far: \w+ at layers\.\d\.resid\.post, gradient norm [\d.]+; \d+ % of the "
    r"answers right",
}


@pytest.fixture
def measurement(options):
    """Prepare a survey, and do one step or all."""

    def prepare(name, steps=None, **others):
        asked, given = {**options, **others}, {}
        if name == "sae":
            asked |= {"site": "mlp.out", "allow_poor_reconstruction": True}
            dictionary = random_dictionary(32, dtype=torch.float32)
            given["dictionaries"] = dict.fromkeys(range(3), dictionary)
        if name == "tokens":
            asked = {key: options[key] for key in ("model_name", "device")} | {
                "template": "the {thing} of light comes",
                "answer": " {thing}",
                "fields": {"thing": ["light", "a gradient", "every little word"]},
                "batch_size": 2,
                **others,
            }
        survey = SURVEYS[name]
        read = survey.options.model_validate(asked)
        made = survey.door("measure").prepare(read, Opening(read, None, Clock()), **given)
        for place, _ in enumerate(made.sharding.measure(0, made.state)):
            if place == steps:
                break
        return made

    return prepare


@pytest.mark.parametrize("name", list(FOUND))
def test_a_survey_says_what_it_has_found_from_its_first_step_on(measurement, name):
    for steps in (0, None):
        found = measurement(name, steps).found()
        if steps is None or name != "sae":
            assert re.fullmatch(FOUND[name], found), found


def test_what_is_said_in_the_end_is_what_the_table_has(measurement, options):
    found = measurement("layers").found()

    table = layers(**options).tables["layers"]
    top = int(table["mean_abs"].argmax())
    told = with_error(table["mean_abs"][top], table["mean_abs_se"][top])
    assert f"layer {top}, mean abs {told}; loss" in found


@pytest.mark.parametrize("mode", ["mean", "rms", "both"])
@pytest.mark.parametrize("quantity", ["gradients", "values"])
def test_every_statistic_has_its_words(measurement, mode, quantity):
    found = measurement("layers", aggregation_mode=mode, aggregate_by=quantity).found()

    assert {"mean": "mean", "rms": "rms", "both": "mean abs"}[mode] in found
    assert ("loss" in found) == (quantity == "gradients")
    assert measurement("sae", aggregation_mode=mode, aggregate_by=quantity).found() is not None


def test_a_command_tells_what_it_found_on_the_way(at_once, survey, place, capsys):
    assert cli.main(survey()) == 0

    assert re.search(r"3 layers: 100 %, .* largest so far: layer \d", capsys.readouterr().err)


def test_a_run_is_not_changed_by_what_is_asked_of_it(at_once, options, tmp_path, no_figures):
    survey = SURVEYS["layers"]
    loud = conduct.conduct(survey, survey.options(**options))
    quiet = conduct.conduct(survey, survey.options(**options, quiet=True))

    assert loud.tables == quiet.tables
