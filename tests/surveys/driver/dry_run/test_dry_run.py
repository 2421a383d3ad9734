"""`--dry_run` says what a survey would take, and does nothing else."""

import re
from functools import partial

import pytest
import torch

import backlight
from backlight import cli
from backlight.errors import ConfigError
from backlight.runs.shards import cut
from backlight.surveys import SURVEYS
from backlight.surveys.driver.clock import Clock
from backlight.surveys.driver.dry_run import estimate, probing
from backlight.surveys.driver.material import fitting
from backlight.surveys.driver.material.opening import Opening
from backlight.surveys.driver.shards import sharding
from zoo.dictionaries import random_dictionary
from zoo.folders import contents

pytestmark = pytest.mark.usefixtures("place")


def words(name, options, **others):
    written = [name]
    for option, value in {**options, **others}.items():
        written += [f"--{option}"] if value is True else [f"--{option}", str(value)]
    return written


def size(measurement, members):
    return len(members) * max(len(measurement.corpus.passages.tokens[each]) for each in members)


def padded(measurement):
    return [size(measurement, members) for members in measurement.sharding.batches]


@pytest.fixture
def plan(options, capsys):
    """What is printed of a dry run, by its labels."""

    def told(name="layers", **others):
        capsys.readouterr()
        assert cli.main(words(name, options, dry_run=True, **others)) == 0
        printed = capsys.readouterr().out
        return {**dict(re.findall(r"^(\w+) {2,}(.*)$", printed, flags=re.MULTILINE)), "": printed}

    return told


@pytest.fixture
def trial(options):
    """Options of a dry run, and the survey ready to run."""

    def ready(name, given=None, **others):
        survey = SURVEYS[name]
        chosen = survey.options(**options, **others, dry_run=True)
        opening = Opening(chosen, None, Clock())
        return chosen, survey.door("measure").prepare(chosen, opening, **(given or {}))

    return ready


@pytest.mark.parametrize("name", ["layers", "flow"])
def test_nothing_is_written_also_where_a_run_would_be(name, plan, place):
    before = contents(place)

    plan(name, save_outputs=True)
    plan(name, output_dir="out")

    assert contents(place) == before


def test_passages_tokens_batches_and_parameters_are_those_of_the_run(plan, options):
    told = plan()
    found = backlight.layers(**options)
    subject = backlight.load_subject(options["model_name"], device="cpu")

    num_passages = found.metadata["text"]["num_passages"]
    assert f"{num_passages} passages, {found.metadata['num_tokens']} tokens" in told["Text"]
    num_batches = -(-num_passages // options["batch_size"])
    assert told["Work"].startswith(f"{num_batches} batches in 1 shard, 1 forward pass for each")
    assert f"({num_batches} in all)" in told["Work"]
    num = sum(each.numel() for each in subject.model.parameters())
    assert f"{num:,} parameters, float32, on cpu" in told["Model"]
    assert told["Measured"] == "gradients at mlp.out, 3 layers"


def test_passes_are_counted_as_the_model_makes_them(plan):
    # The true pass, and along the path its nodes and its end, from the site's block on.
    assert "6 forward passes for each" in plan(path=4, layers=0)["Work"]
    assert "2.67 forward passes for each" in plan(path=4, layers=2)["Work"]
    assert "1 forward pass for each" in plan("flow")["Work"]


def test_a_batch_size_that_is_chosen_is_chosen_first(plan, options):
    num_batches = int(plan(batch_size="auto")["Work"].split()[0])

    found = backlight.layers(**{**options, "batch_size": "auto"})
    num_passages = found.metadata["text"]["num_passages"]
    assert num_batches == -(-num_passages // found.config["batch_size"])


def test_with_precision_it_is_said_that_it_is_the_most(plan):
    told = plan(precision=0.5)

    assert ": at most " in told["Text"]
    assert told["Time"].startswith("at most ")
    assert plan()["Time"].startswith(("about ", "less than "))


def test_what_is_not_counted_is_said(plan):
    assert "Not counted: the start of Python and its packages.\n" in plan()[""]
    told = plan(save_outputs=True, check=True)[""]
    assert "Not counted: the start of Python and its packages, --check, figures and files." in told


def test_shards_are_merged_on_trial(plan, trial, monkeypatch):
    monkeypatch.setattr(sharding, "cut", partial(cut, least=70))
    assert "in 3 shards" in plan()["Work"]
    _, measurement = trial("layers")
    merged, real = [], sharding.Sharding.join

    def counting(self, first, second):
        merged.append(len(self.shards))
        return real(self, first, second)

    monkeypatch.setattr(sharding.Sharding, "join", counting)
    assert probing.probe(measurement).join_seconds > 0
    assert merged == [3]
    assert measurement.state.loss.num_batches == 2 * 2


def test_time_is_the_fit_over_all_batches_and_merges_of_all_shards(trial, monkeypatch):
    monkeypatch.setattr(sharding, "cut", partial(cut, least=70))
    chosen, measurement = trial("layers")
    costs = probing.Costs(round=100.0, batch=2.0, token=0.5)
    real = probing.probe(measurement)
    known = probing.Probe(
        costs=costs, join_seconds=7.0, state_bytes=10**12, num_passes=1, more_bytes=0
    )
    monkeypatch.setattr(estimate, "probe", lambda _: known)

    expected = estimate.expect(SURVEYS["layers"], chosen, measurement, 3.0)

    assert expected.measuring_seconds == 5 * 2.0 + 247 * 0.5 + 2 * 7.0
    assert expected.seconds == pytest.approx(3.0 + 147.5 + expected.table_seconds)
    assert expected.table_seconds > 0
    assert real.state_bytes == sum(each.nbytes for each in measurement.state.state().values())


@pytest.mark.parametrize("splice", ["error", "replace"])
def test_dictionaries_are_read_once_for_each_chunk(trial, splice):
    given = {"dictionaries": {1: random_dictionary(32, dtype=torch.float32, seed=0)}}
    chosen, measurement = trial(
        "sae", given, site="mlp.out", splice=splice, allow_poor_reconstruction=True
    )
    assert len(measurement.sharding.rounds) == 1

    expected = estimate.expect(SURVEYS["sae"], chosen, measurement, 0.0)

    assert expected.measuring_seconds > 0
    assert expected.probe.num_passes >= 1
    positions, (first, second) = padded(measurement), sorted(padded(measurement))[-2:]
    kept = measurement.sharding.bytes_per_position * (sum(positions) - first - second)
    assert expected.probe.more_bytes == pytest.approx(kept)
    assert kept > 0


def test_nothing_more_is_kept_where_each_batch_goes_by_itself(trial):
    given = {"dictionaries": {1: random_dictionary(32, dtype=torch.float32, seed=0)}}
    how = {"site": "mlp.out", "splice": "error", "aggregation_mode": "mean"}
    _, measurement = trial("sae", given, **how, allow_poor_reconstruction=True)

    assert len(measurement.sharding.rounds) == 5
    assert probing.probe(measurement).more_bytes == 0


def test_of_a_model_block_by_block_the_most_is_told(plan, monkeypatch):
    monkeypatch.setattr(fitting, "anonymous_memory", lambda: 0)
    told = plan(memory="230kB", batch_size=2, max_length=16)

    # Every block but the last runs twice.
    assert ", 1.67 forward passes for each" in told["Work"]
    assert told["Time"].startswith("at most ")
    assert "3 layers" in told["Measured"]


@pytest.mark.parametrize("name", ["layers", "flow"])
def test_the_model_is_left_without_hooks(trial, name):
    _, measurement = trial(name)
    model = measurement.corpus.subject.model
    before = [dict(module._forward_pre_hooks) for module in model.modules()]

    probing.probe(measurement)

    assert [dict(module._forward_pre_hooks) for module in model.modules()] == before


def test_also_if_a_batch_fails(trial, monkeypatch):
    _, measurement = trial("layers")
    model = measurement.corpus.subject.model

    def failing(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(probing, "_measured", failing)
    with pytest.raises(KeyboardInterrupt):
        probing.probe(measurement)

    assert not any(module._forward_pre_hooks for module in model.modules())


def test_the_batches_that_take_most_memory_are_tried_first_and_last(trial):
    _, measurement = trial("layers")
    tried, real = [], measurement.sharding.steps

    def steps(batches, state):
        tried.append([list(members) for members in batches])
        return real(batches, state)

    object.__setattr__(measurement.sharding, "steps", steps)
    probing.probe(measurement)

    sizes = sorted(padded(measurement))
    assert [size(measurement, members) for members in tried[0]] == [sizes[-1], sizes[-2]]
    assert [size(measurement, members) for members in tried[-2]] == [sizes[0]]
    assert tried[-1] == tried[0]


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"workers": 2}, "leave --workers and --cluster out. Each worker takes about as much"),
        ({"resume": True}, "so --resume has no place beside it"),
        ({"quiet": True}, "--dry_run and --quiet exclude each other"),
    ],
)
def test_what_cannot_be_told_is_refused(others, message, options, place, capsys):
    assert cli.main(words("layers", options, dry_run=True, **others)) == 2

    assert message in " ".join(capsys.readouterr().err.split())


def test_in_python_it_is_refused(options):
    with pytest.raises(ConfigError, match="on the command line: run `backlight layers --dry_run`"):
        backlight.layers(**options, dry_run=True)


def test_a_plan_is_no_dry_run(options, place, capsys):
    asked = words("layers", options, dry_run=True, output_dir="out")
    assert cli.main(["plan", *asked]) == 2

    assert "plan makes a directory, and --dry_run writes nothing" in capsys.readouterr().err
    assert not (place / "out").exists()


def test_a_run_does_not_remember_that_it_could_have_been_dry(options, place):
    backlight.layers(**options, output_dir="out", figures="none")

    assert "dry_run" not in (place / "out" / "config.yaml").read_text()
