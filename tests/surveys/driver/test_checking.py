"""``--check``: the table is part of the run, its line is told everywhere, and no number changes."""

import json
import logging
from dataclasses import replace
from math import inf, nan

import numpy as np
import pytest
import torch

import backlight
from backlight import cli
from backlight.capture.checking.check import EXACT, Check
from backlight.capture.checking.every import Checked
from backlight.surveys.driver import checking, conduct
from backlight.surveys.driver.checking import table_of
from backlight.surveys.driver.words.checks import check_lines, judgement_of, sentences_of
from backlight.tables import Table
from zoo.folders import contents

LINE = "Numerical checks: 16 of 16 fine."


def check_of(verdict, what="batches", **more):
    values = {"gradient": 0.25, "site": "layers.0.mlp.out", "loss": nan, "words": "Do this."}
    return Check(
        what=what,
        against="alone",
        num_sites=3,
        tolerance=EXACT,
        verdict=verdict,
        **{**values, **more},
    )


@pytest.fixture
def unsound(monkeypatch):
    """Let every check find one comparison fine, one not, and one that cannot be made."""
    found = [check_of("fine"), check_of("not fine", "kernels"), check_of("not made", "formats")]
    monkeypatch.setattr(
        checking, "check_all", lambda sample: iter([Checked(following="", checks=found)])
    )


def test_a_survey_that_is_asked_keeps_the_table_and_tells_its_line(options, tmp_path, capsys):
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    run = tmp_path / "run"

    assert cli.main(["layers", *words, "--check", "--output_dir", str(run)]) == 0

    printed = capsys.readouterr().out
    assert LINE in printed
    table = Table.from_csv("checks", (run / "tables" / "checks.csv").read_text())
    assert set(table["verdict"]) == {"fine"}
    assert table.num_rows == 16
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["checks"] == {
        "num_made": 16,
        "not_fine": [],
        "not_made": [],
        "line": LINE,
    }
    assert "tables/checks.csv" in manifest["files"]
    page = (run / "index.html").read_text()
    assert LINE in page
    assert "Numerical checks" in page
    again = backlight.load_results(run)
    assert again.metadata["checks"]["line"] == LINE
    assert again.tables["checks"] == table
    assert "check" not in again.config


def test_no_other_file_of_a_run_depends_on_it(options, tmp_path):
    plain, checked = tmp_path / "plain", tmp_path / "checked"
    backlight.layers(**options, output_dir=plain, figures="none")
    backlight.layers(**options, output_dir=checked, figures="none", check=True)

    before, after = contents(plain), contents(checked)
    changed = {name for name in before if before[name] != after[name]}
    dated = {"config.yaml", "index.html", "manifest.json", "metadata.json"}
    assert set(after) - set(before) == {"tables/checks.csv"}
    assert changed <= {*dated, "consolidated_results.npz"}
    arrays, same = backlight.load_results(plain).data, backlight.load_results(checked).data
    assert arrays
    assert all(np.array_equal(array, same[name]) for name, array in arrays.items())


@pytest.mark.parametrize("more", [[], ["--table"]], ids=["screen", "tables"])
def test_a_survey_of_prompts_tells_it_too(more, capsys):
    words = ["tokens", "--task_type", "distance", "--n_samples", "3", "--target_layers", "0"]

    assert cli.main([*words, "--check", *more]) == 0

    assert LINE in capsys.readouterr().out


@pytest.mark.parametrize("name", ["flow", "tokens", "sae"])
def test_every_survey_of_a_model_has_it(name, options):
    from zoo.dictionaries import random_dictionary

    more = {
        "flow": {**options, "view": "residual"},
        "tokens": {"task_type": "distance", "n_samples": 3, "target_layers": 0},
        "sae": {
            **options,
            "dictionaries": {1: random_dictionary(32, dtype=torch.float32, seed=0)},
            "site": "mlp.out",
            "allow_poor_reconstruction": True,
        },
    }
    results = getattr(backlight, name)(**more[name], check=True)

    assert results.metadata["checks"]["not_fine"] == []
    assert results.tables["checks"].num_rows > 12


@pytest.mark.usefixtures("unsound")
def test_what_is_not_fine_is_a_loud_warning_and_told_with_the_results(options, caplog):
    with caplog.at_level(logging.WARNING, logger="backlight"):
        results = backlight.layers(**options, check=True)

    assert caplog.messages == [
        "NOT FINE: kernels against alone; gradients differ by 0.25 of the largest at "
        "layers.0.mlp.out (fine: 0). Do this."
    ]
    assert check_lines(results.metadata) == [
        "Numerical checks: 1 of 2 fine (1 more not made); NOT FINE: kernels against alone."
    ]


def test_a_run_without_it_says_nothing_of_it(options):
    results = backlight.layers(**options)

    assert "checks" not in results.metadata
    assert "checks" not in results.tables
    assert check_lines(results.metadata) == []


def test_a_finished_run_that_was_not_checked_says_so_when_it_is_asked_to(options, tmp_path, caplog):
    backlight.layers(**options, output_dir=tmp_path / "run")

    with caplog.at_level(logging.WARNING, logger="backlight"):
        again = backlight.layers(**options, output_dir=tmp_path / "run", resume=True, check=True)

    assert "checks" not in again.tables
    assert "was not checked, and it is not measured again" in caplog.text


def test_a_run_that_was_stopped_without_it_can_be_gone_on_with_it(options, tmp_path, monkeypatch):
    monkeypatch.setattr(conduct, "write", stopped)
    with pytest.raises(KeyboardInterrupt):
        backlight.layers(**options, output_dir=tmp_path / "run", figures="none")
    monkeypatch.undo()

    again = backlight.layers(
        **options, output_dir=tmp_path / "run", resume=True, check=True, figures="none"
    )

    assert again.tables["checks"].num_rows == 16
    assert backlight.load_results(tmp_path / "run").metadata["checks"]["not_fine"] == []


def stopped(*_):
    raise KeyboardInterrupt


def test_checks_come_to_one_line():
    fine, bad = check_of("fine"), check_of("not fine", "kernels", loss=0.5)
    judgement = judgement_of(table_of([fine, fine, bad]))

    assert not judgement.is_fine
    assert judgement.line == "Numerical checks: 2 of 3 fine; NOT FINE: kernels against alone."
    assert judgement_of(table_of([fine])).line == "Numerical checks: 1 of 1 fine."
    assert list(sentences_of(table_of([fine, bad]), "not fine")) == [
        "NOT FINE: kernels against alone; gradients differ by 0.25 of the largest at "
        "layers.0.mlp.out (fine: 0); the loss by 0.50 of it (fine: 0). Do this."
    ]


def test_an_infinite_difference_survives_its_file_and_the_page(options, tmp_path, monkeypatch):
    bad = replace(check_of("not fine"), gradient=inf)
    monkeypatch.setattr(
        checking, "check_all", lambda sample: iter([Checked(following="", checks=[bad])])
    )

    backlight.layers(**options, output_dir=tmp_path / "run", check=True, figures="none")

    table = backlight.load_results(tmp_path / "run").tables["checks"]
    assert np.isinf(table["gradient_difference"][0])
    assert np.isnan(table["loss_difference"][0])
