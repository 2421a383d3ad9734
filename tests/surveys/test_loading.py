"""Results that are read back know how they are shown, and so do those measured just now."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

import backlight
from backlight.errors import UsageError
from backlight.report.rendering import rendered
from backlight.runs.results import load_results as read_results

SMALL = {"num_steps": 2, "block_size": 8, "batch_size": 2, "n_layer": 1, "n_head": 2, "n_embd": 16}


def test_a_run_read_back_offers_its_figures_as_they_were_written(finished_run):
    figures = backlight.load_results(finished_run).figures

    written = {path.stem for path in finished_run.glob("*.png")}
    assert set(figures) == written
    for name in ("depth_profile", "layer_0_mean_abs_gradient_hist"):
        assert rendered(".png", figures[name]) == (finished_run / f"{name}.png").read_bytes()


def test_a_figure_stays_as_it_is_when_others_are_drawn(finished_run):
    figures = backlight.load_results(finished_run).figures
    names = [name for name in figures if name.startswith("layer_")]
    alone = {name: rendered(".png", figures[name]) for name in names}

    kept = {name: figures[name] for name in names}

    assert {name: rendered(".png", figure) for name, figure in kept.items()} == alone
    assert len(set(alone.values())) == len(names)


def test_results_measured_in_memory_have_figures_and_can_be_pickled(options):
    results = pickle.loads(pickle.dumps(backlight.layers(**options, layers="1")))

    assert results.path is None
    assert results.figures["depth_profile"].axes[0].get_ylabel().startswith("mean abs")


def test_results_of_an_experiment_have_its_figures(tmp_path):
    results = backlight.lab("ln-jacobian", output_dir=tmp_path / "run", **SMALL)
    again = backlight.load_results(tmp_path / "run")

    written = (tmp_path / "run" / "ln_jacobian.png").read_bytes()
    assert list(results.figures) == list(again.figures) == ["ln_jacobian"]
    for each in (results, again):
        assert rendered(".png", each.figures["ln_jacobian"]) == written


def test_a_finished_run_that_is_resumed_has_figures(options, tmp_path):
    backlight.layers(**options, layers="1", output_dir=tmp_path / "run", figures="none")

    again = backlight.layers(**options, layers="1", output_dir=tmp_path / "run", resume=True)

    assert "depth_profile" in again.figures


def test_one_file_of_a_run_has_no_figures(finished_run, tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(2))

    for results in (
        backlight.load_results(tmp_path / "a.npy"),
        backlight.load_results(finished_run / "tables" / "layers.csv"),
        backlight.load_results(finished_run / "config.yaml"),
        read_results(finished_run),
    ):
        with pytest.raises(UsageError, match=r"no figures: those of `backlight layers`"):
            _ = results.figures


def test_reading_results_loads_no_torch_and_no_matplotlib(finished_run):
    code = (
        "import sys, backlight\n"
        f"results = backlight.load_results({str(finished_run)!r})\n"
        "results.figures\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'matplotlib')))\n"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
