"""``backlight check``: the table, the verdict in the exit status, and the Python call."""

import pytest
import torch

import backlight
from backlight import cli
from backlight.errors import ConfigError, DatasetError
from zoo.subjects import subject_of
from zoo.unsound import unsound

WORDS = ["the cat sat on the mat and saw the dog", "a dog ran", "one two three four five"]


def test_a_sound_model_leaves_with_zero_and_prints_each_comparison(model_folder, capsys):
    assert cli.main(["check", str(model_folder), "--device", "cpu", "--max_length", "12"]) == 0

    out = capsys.readouterr().out
    printed = " ".join(out.split())
    assert max(map(len, out.splitlines())) <= 100
    assert "(float32, sdpa)" in printed
    assert "kernel sdpa (in use)" in printed
    assert "gradient: the largest difference, as a share of the largest gradient" in printed
    assert "docs/" not in printed
    assert "fine is a gradient up to 0.001 and a loss up to 1e-5, and less where" in printed
    assert ".md" not in printed
    assert printed.endswith("Numerical checks: 16 of 16 fine.")


def test_quiet_prints_one_line(model_folder, capsys):
    words = ["--device", "cpu", "--max_length", "12", "--quiet"]
    assert cli.main(["check", str(model_folder), *words]) == 0

    assert capsys.readouterr().out == "Numerical checks: 16 of 16 fine.\n"


def test_an_unsound_model_leaves_with_one_and_says_what_to_do(monkeypatch, capsys):
    from backlight.tools.check import command

    monkeypatch.setattr(command, "load", lambda options: unsound("company"))

    assert cli.main(["check", "unsound"]) == 1

    printed = " ".join(capsys.readouterr().out.split())
    assert "NOT FINE: in a ragged batch of 4 against alone, no pads" in printed
    assert "depends on the others in its batch" in printed
    assert "NOT MADE: attention kernel against another kernel. its attention goes" in printed
    assert "of 13 fine (2 more not made); NOT FINE:" in printed


def test_a_model_in_memory_is_checked_as_it_is():
    checks = backlight.check(subject_of("llama"), dataset=WORDS)

    assert checks.is_fine
    assert checks.line == "Numerical checks: 16 of 16 fine."
    assert list(checks.table)[:3] == ["what", "against", "num_sites"]
    assert "<table>" in checks._repr_html_()


def test_what_is_wrong_with_a_model_in_memory_is_in_the_table():
    checks = backlight.check(unsound("company"), dataset=WORDS)

    assert not checks.is_fine
    bad = checks.table.select(checks.table["verdict"] == "not fine")
    assert list(bad["what"]) == ["in a ragged batch of 2", "in a ragged batch of 4"]
    assert all(bad["gradient_difference"] > bad["gradient_tolerance"])


def test_a_model_and_options_for_loading_one_exclude_each_other():
    with pytest.raises(ConfigError, match="A subject is given, so dtype would have no effect"):
        backlight.check(subject_of("llama"), dataset=WORDS, dtype="float64")


def test_a_text_without_two_tokens_is_refused():
    with pytest.raises(DatasetError, match="has two tokens or more"):
        backlight.check(subject_of("llama"), dataset=["word"])


def test_an_option_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match=r"max_lenght: no such option\. Did you mean max_length"):
        backlight.check(subject_of("llama"), max_lenght=3)


def test_the_shipped_model_is_asked_what_it_can_read():
    assert backlight.check(model_name="city").is_fine


def test_rounding_of_bfloat16_is_told():
    checks = backlight.check(subject_of("llama", torch.bfloat16), dataset=WORDS)

    names = list(checks.table["what"])
    assert names.count("bfloat16 (in use)") == 2
    assert "share of zeros in bfloat16" in names
