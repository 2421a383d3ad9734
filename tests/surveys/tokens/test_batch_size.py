"""``backlight tokens --batch_size auto``: the size is chosen, kept, and changes no number."""

from pathlib import Path

import numpy as np
import pytest
import yaml

import backlight
from backlight.capture.record import record
from backlight.errors import ConfigError
from backlight.surveys.driver.material import batch_size, remembered_sizes
from backlight.surveys.tokens.measure import setup
from zoo.folders import numbers
from zoo.stopping import stopping

pytestmark = pytest.mark.usefixtures("place")

SECONDS = {1: 1.0, 2: 1.2, 4: 3.0}
REAL = batch_size._seconds


@pytest.fixture
def asked(model_folder, tmp_path, monkeypatch):
    """Options of seven prompts of four lengths, on a machine that takes two at once best."""
    monkeypatch.setattr(remembered_sizes, "sizes_folder", lambda: tmp_path / "sizes")
    monkeypatch.setattr(batch_size, "_seconds", lambda *given: SECONDS[len(given[2])])
    things = ("light", "a gradient", "every little word", "a", "the next", "the model of a", "back")
    return {
        "model_name": str(model_folder),
        "device": "cpu",
        "template": "the {thing} comes",
        "answer": " back",
        "fields": {"thing": list(things)},
        "batch_size": "auto",
        "figures": "none",
    }


def test_the_run_keeps_the_size_that_was_chosen(asked):
    backlight.tokens(**asked, output_dir="auto")
    backlight.tokens(**{**asked, "batch_size": 2}, output_dir="two")

    config = yaml.safe_load(Path("auto", "config.yaml").read_text())
    assert config["batch_size"] == 2
    assert config["provenance"]["batch_size"]["asked"] == "auto"
    assert list(config["provenance"]["batch_size"]["tokens_per_second"]) == ["1", "2", "4"]
    assert numbers(Path("auto")) == numbers(Path("two")) != {}


def test_numbers_are_those_of_one_prompt_at_a_time(asked):
    asked |= {"dtype": "float64", "sites": "resid.post,attn.z"}
    found = backlight.tokens(**asked)
    alone = backlight.tokens(**{**asked, "batch_size": 1})

    assert found.config["batch_size"] == 2
    measured = [name for name, array in alone.data.items() if array.dtype.kind == "f"]
    assert "layers.2.resid.post/gradient_norm" in measured
    for name in measured:
        np.testing.assert_allclose(found.data[name], alone.data[name], rtol=1e-6, atol=1e-9)


def test_a_resumed_run_has_the_same_bytes_and_tries_nothing(asked, tmp_path, monkeypatch):
    backlight.tokens(**asked, output_dir="whole")
    with stopping(setup, "survey_tokens", 2), pytest.raises(KeyboardInterrupt):
        backlight.tokens(**asked, output_dir="run")
    (file,) = (tmp_path / "sizes").iterdir()
    file.unlink()
    monkeypatch.setattr(batch_size, "_seconds", lambda *given: pytest.fail("was tried again"))
    backlight.tokens(**asked, output_dir="run", resume=True)

    assert numbers(Path("whole")) == numbers(Path("run")) != {}


def test_it_is_timed_at_the_sites_of_the_run(asked, monkeypatch):
    seen = []

    def recorded(subject, batch, sites, **how):
        seen.append([site.name for site in sites])
        return record(subject, batch, sites, **how)

    monkeypatch.setattr(batch_size, "_seconds", REAL)
    monkeypatch.setattr(batch_size, "record", recorded)
    backlight.tokens(**asked, sites="mlp.out", target_layers="0,2")

    assert seen
    assert all(names == ["layers.0.mlp.out", "layers.2.mlp.out"] for names in seen)


def test_what_is_no_size_is_refused(asked):
    with pytest.raises(ConfigError, match=r"batch_size: Input should be greater than 0 \(got 0\)"):
        backlight.tokens(**{**asked, "batch_size": 0})
    with pytest.raises(ConfigError, match="batch_size: Input should be a valid integer"):
        backlight.tokens(**{**asked, "batch_size": "much"})
