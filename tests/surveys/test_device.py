"""The script that holds an accelerator against the CPU, ``benchmarks/device.py``, when tiny."""

import sys

import numpy as np
import pytest
import torch

from zoo.scripts import benchmark

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def device():
    with benchmark("device") as module:
        yield module


@pytest.fixture
def run(device, monkeypatch, capsys):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["device.py", *words])
        device.main()
        return capsys.readouterr().out

    return run


TINY = ("--device", "cpu", "--tiny", "--repeats", "1")


def cells(out, model="tiny"):
    lines = [line.strip("|").split("|") for line in out.splitlines()]
    return [[cell.strip() for cell in line] for line in lines if line[0].strip() == model]


def test_without_an_accelerator_it_says_so_in_one_sentence_and_ends(run):
    out = run("--device", "cpu")

    assert out.count("\n") == 1
    assert out.startswith("No accelerator is here")


def test_every_survey_and_both_batches_are_measured_and_kept(run, device, tmp_path, monkeypatch):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{device.BEGIN}\nold\n{device.END}\nafter\n")
    monkeypatch.setattr(device, "README", readme)

    out = run(*TINY, "--keep")

    assert "layers 0.0e+00, sae 0.0e+00, tokens 0.0e+00, flow 0.0e+00" in out
    one, four, auto = cells(out)
    assert auto[1] in ("auto: 1", "auto: 2", "auto: 4")
    assert (one[1], one[3], four[1], four[3]) == ("1", "", "4", "1.00")
    for line in (one, four, auto):
        assert float(line[2].replace(",", "")) > 0
        assert float(line[4]) > 0.5  # the survey does all that the floor does
    assert readme.read_text() == f"before\n{device.BEGIN}\n{out}{device.END}\nafter\n"


def test_batches_end_where_memory_does_and_those_before_are_told(run, device, monkeypatch):
    survey = device.survey

    def short(subject, sites, passages, batches):
        if len(batches[0]) == 4:
            raise torch.OutOfMemoryError("no more")
        return survey(subject, sites, passages, batches)

    monkeypatch.setattr(device, "survey", short)

    one, four = cells(run(*TINY))

    assert float(one[2].replace(",", "")) > 0
    assert four[1] == "4 does not fit"


@pytest.mark.slow
def test_where_only_the_floor_does_not_fit_the_survey_is_measured_alone(run, device, monkeypatch):
    def short(*_):
        raise torch.OutOfMemoryError("no more")
        yield

    monkeypatch.setattr(device, "floor", short)

    one, four, _ = cells(run(*TINY))

    assert float(four[2].replace(",", "")) > 0
    assert one[4:] == four[4:] == ["", "", "does not fit"]


def test_a_model_that_does_not_fit_is_told(run, device, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("no more")

    monkeypatch.setattr(device, "random_subject", full)

    assert [line[1] for line in cells(run(*TINY))] == ["the model alone does not fit"]


def test_no_batch_is_begun_that_would_end_too_late(run):
    assert [line[1] for line in cells(run(*TINY, "--minutes", "0"))] == ["1 was not tried: no time"]


def test_a_device_with_other_numbers_is_an_error(run, device, monkeypatch):
    kept = device.kept
    seen = []

    def off(name, subject):
        seen.append(name)
        state = dict(kept(name, subject))
        if seen.count("flow") == 2:
            state["loss/nats"] = state["loss/nats"] * 1.01
        return state

    monkeypatch.setattr(device, "kept", off)

    with pytest.raises(SystemExit, match="differ by more than 1e-03"):
        run(*TINY)


def test_differences_are_relative_to_the_largest_number_and_nan_is_a_place(device):
    here = {"a": np.array([100.0, np.nan, 1.0]), "bins": np.array([3, 4])}

    assert device.difference(here, {**here, "a": np.array([100.0, np.nan, 1.5])}) == 0.005
    assert device.difference(here, {**here, "bins": np.array([4, 3])}) == 0
    with pytest.raises(SystemExit, match="a has numbers at other places"):
        device.difference(here, {**here, "a": np.array([100.0, 1.0, 1.0])})
    with pytest.raises(SystemExit, match=r"Only one of both has \['bins'\]"):
        device.difference(here, {"a": here["a"]})


@pytest.mark.parametrize(("name", "billions"), [("0.5 billion", 0.494), ("7 billion", 7.616)])
def test_the_configurations_have_so_many_parameters(device, name, billions):
    with torch.device("meta"):
        model = device.Qwen2ForCausalLM(device.Qwen2Config(**device.CONFIGURATIONS[name]))

    assert sum(each.numel() for each in model.parameters()) / 1e9 == pytest.approx(
        billions, abs=1e-3
    )
