"""``backlight lab``: from words to tables, pictures and remarks; stopped, resumed, redrawn."""

import numpy as np
import pytest

import backlight
from backlight.cli import main
from backlight.errors import ConfigError
from backlight.labs import LABS
from backlight.labs.ln_jacobian import experiment as ln_jacobian
from backlight.runs.results import load_results

pytestmark = pytest.mark.usefixtures("far_from_results")

SMALL = {
    "num_steps": 3,
    "block_size": 8,
    "batch_size": 2,
    "n_layer": 1,
    "n_head": 2,
    "n_embd": 16,
}
WORDS = [word for name, value in SMALL.items() for word in (f"--{name}", str(value))]


def test_an_experiment_is_carried_out_from_the_command_line(tmp_path, capsys):
    run = tmp_path / "run"
    words = ["lab", "ln-jacobian", *WORDS, "--seeds", "2", "--output_dir", str(run)]
    assert main([*words, "--table"]) == 0
    printed = capsys.readouterr().out
    assert "h.0.ln_1" in printed
    assert "chance" in printed
    assert f"backlight lab ln-jacobian {run}/config.yaml" in printed.replace("\n", "")
    results = load_results(run)
    assert results.tables["seeds"].num_rows == 2 * 2 * 3
    picture = run / "ln_jacobian.png"
    before = picture.read_bytes()
    picture.unlink()
    assert main(["report", str(run)]) == 0
    assert picture.read_bytes() == before


def test_an_experiment_says_first_what_it_is_about_then_what_was_found():
    results = backlight.lab("ln-jacobian", **SMALL)
    about = " ".join(LABS["ln-jacobian"].options.__doc__.split("\n\n")[0].split())
    remarks = results.metadata["remarks"]

    page = results.presentation.page(results)

    assert " ".join(page.summary[0].split()) == about
    assert [paragraph.text for paragraph in page.views[0].paragraphs] == remarks
    assert results.presentation.summary(results) == [results.metadata["asked"], *remarks[:2]]


def test_its_own_config_measures_the_same_again(tmp_path):
    first = backlight.lab("ln-jacobian", output_dir=tmp_path / "a", **SMALL)
    again = backlight.lab("ln-jacobian", tmp_path / "a" / "config.yaml", output_dir=tmp_path / "b")
    for name, table in first.tables.items():
        assert table.to_csv() == again.tables[name].to_csv()


def test_a_stopped_experiment_resumes_to_the_same_bytes(tmp_path, monkeypatch):
    whole = backlight.lab("ln-jacobian", output_dir=tmp_path / "whole", **SMALL)
    learn, calls = ln_jacobian.learn, []

    def stopping(model, lesson):
        calls.append(model.config.attn_mode)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return learn(model, lesson)

    monkeypatch.setattr(ln_jacobian, "learn", stopping)
    with pytest.raises(KeyboardInterrupt):
        backlight.lab("ln-jacobian", output_dir=tmp_path / "part", **SMALL)
    resumed = backlight.lab("ln-jacobian", output_dir=tmp_path / "part", resume=True, **SMALL)
    assert calls == ["softmax", "sigmoid", "sigmoid"]
    assert all(np.array_equal(resumed.data[key], array) for key, array in whole.data.items())
    for name in ("tables/seeds.csv", "ln_jacobian.png"):
        assert (tmp_path / "part" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    finished = backlight.lab("ln-jacobian", output_dir=tmp_path / "part", resume=True, **SMALL)
    assert finished.metadata["remarks"] == resumed.metadata["remarks"]
    assert len(calls) == 3


def test_an_experiment_s_figures_may_be_left_out(tmp_path):
    backlight.lab("ln-jacobian", output_dir=tmp_path / "run", figures="none", **SMALL)

    assert (tmp_path / "run" / "manifest.json").exists()
    assert not list((tmp_path / "run").glob("*.png"))


def test_python_writes_nothing_unless_it_is_told_to(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert backlight.lab("ln-jacobian", **SMALL).path is None
    assert not list(tmp_path.iterdir())


def test_an_unknown_experiment_is_refused_with_the_nearest_name():
    with pytest.raises(
        ConfigError, match=r"no experiment 'ln-jacobean'\. Did you mean ln-jacobian"
    ):
        backlight.lab("ln-jacobean")


def test_divergence_is_one_sentence_and_exit_status_1(tmp_path, capsys):
    words = ["lab", "ln-jacobian", *WORDS[2:], "--num_steps", "30", "--learning_rate", "1e30"]
    assert main([*words, "--output_dir", str(tmp_path / "run")]) == 1
    assert "The training diverged: the loss is" in capsys.readouterr().err


@pytest.mark.parametrize("name", LABS)
def test_every_experiment_says_what_it_is_for(name, capsys):
    assert main(["lab", name, "--help"]) == 0
    assert "--seeds" in capsys.readouterr().out


def test_the_gain_is_part_of_the_norm_unless_it_is_left_out():
    exact = backlight.lab("ln-jacobian", **{**SMALL, "num_steps": 30})
    without = backlight.lab("ln-jacobian", without_gain=True, **{**SMALL, "num_steps": 30})
    one, other = (run.tables["norms"]["r_mean"] for run in (exact, without))
    assert not np.allclose(one, other)
    assert "Gains were left out" in without.metadata["remarks"][-1]
