"""A survey that is added costs a folder and a line, and has all the rest from the driver."""

import importlib
from itertools import chain
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from backlight import cli, load_results
from backlight.surveys import SURVEYS
from backlight.surveys.driver.conduct import asked, conduct
from backlight.surveys.driver.words import progress
from zoo import toy
from zoo.folders import contents
from zoo.toy import TOY, measure

pytestmark = pytest.mark.usefixtures("place")


@pytest.fixture
def words(options, monkeypatch):
    """Add the survey, and write the words of a command that asks it."""
    monkeypatch.setitem(SURVEYS, TOY.name, TOY)
    importlib.reload(cli)
    yield lambda *more: ["toy", *chain(*((f"--{k}", str(v)) for k, v in options.items())), *more]
    monkeypatch.undo()
    importlib.reload(cli)


def mean_length_by_hand(options):
    """Differentiate the plain loss of each row at what enters the first layer."""
    model = AutoModelForCausalLM.from_pretrained(options["model_name"]).eval()
    tokenizer = AutoTokenizer.from_pretrained(options["model_name"])
    lengths = []
    for row in filter(str.strip, Path(options["dataset"]).read_text("utf-8").splitlines()):
        ids = tokenizer(row, truncation=True, max_length=20, return_tensors="pt")["input_ids"]
        found = model(input_ids=ids, labels=ids, output_hidden_states=True)
        (gradient,) = torch.autograd.grad(found.loss, found.hidden_states[0])
        lengths.append(gradient[0].double().norm(dim=-1))
    return float(torch.cat(lengths).mean())


def test_it_takes_less_than_seventy_lines():
    files = Path(toy.__file__).parent.glob("*.py")
    lines = [line for file in files for line in file.read_text().splitlines()]
    assert sum(bool(line.strip()) for line in lines) < 70


def test_it_has_a_command_with_help_and_a_printed_summary(words, capsys):
    assert cli.main(["--help"]) == 0
    assert "Measure how long the gradient is" in capsys.readouterr().out
    assert cli.main(["toy", "--help"]) == 0
    assert "--max_length" in capsys.readouterr().out

    assert cli.main(words("--output_dir", "run")) == 0

    printed = capsys.readouterr().out
    assert "The gradient at the embedding is" in printed
    assert "mean length" in printed
    assert "Again     backlight toy run/config.yaml" in printed


def test_it_has_a_python_call_whose_numbers_are_those_of_plain_autograd(options):
    results = conduct(TOY, asked(TOY, None, options, None))

    expected = mean_length_by_hand(options)
    assert results.tables["toy"]["mean_length"][0] == pytest.approx(expected, rel=1e-5)


def test_it_writes_a_run_that_is_read_back_and_redrawn(words):
    assert cli.main(words("--output_dir", "run")) == 0
    before = contents(Path("run"))
    assert {"config.yaml", "manifest.json", "toy.png", "tables/toy.csv"} <= set(before)
    assert load_results("run").tables["toy"].num_rows == 1
    Path("run/toy.png").write_bytes(b"")

    assert cli.main(["report", "run"]) == 0

    assert contents(Path("run"))["toy.png"] == before["toy.png"]


def test_it_goes_on_where_it_was_stopped_to_the_same_bytes(words, monkeypatch):
    monkeypatch.setattr(progress, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(progress, "CHECKPOINT_PATIENCE", 0)
    assert cli.main(words("--output_dir", "whole")) == 0
    real, done = measure.record, []

    def interrupted(*args, **options):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(args)
        return real(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(measure, "record", interrupted)
        assert cli.main(words("--output_dir", "run")) == 130
    assert cli.main(words("--output_dir", "run", "--resume")) == 0

    whole, run = contents(Path("whole")), contents(Path("run"))
    for name in ("tables/toy.csv", "toy.png"):
        assert run[name] == whole[name]


def test_parts_of_a_corpus_that_are_merged_give_the_whole():
    whole, first, second = measure.Lengths(), measure.Lengths(), measure.Lengths()
    one, other = torch.rand(5, dtype=torch.float64), torch.rand(3, dtype=torch.float64)
    for each in (one, other):
        whole.update(each)
    first.update(one)
    second.update(other)

    first.merge(second)

    for name, array in whole.state().items():
        assert first.state()[name] == pytest.approx(array)
