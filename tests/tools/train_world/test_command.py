"""What `backlight train-world` learns, writes, prints and refuses."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

import backlight
from backlight import cli
from backlight.errors import CityError, ConfigError, NonFiniteError, RunDirectoryError, TaskError
from backlight.surveys.driver.options.reading import read_config
from backlight.surveys.driver.words import progress
from backlight.tables import Table
from backlight.tools.train_world import command
from backlight.tools.train_world.command import train_world
from backlight.tools.train_world.options import TrainWorldConfig
from backlight.world.cities import write_cities
from backlight.world.learning.training import WorldTraining
from zoo.cities import SMALL_TRAINING, make_cities
from zoo.folders import contents

pytestmark = pytest.mark.usefixtures("far_from_results")

POINTS = np.random.default_rng(5).integers((-1800, -900), (1800, 900), size=(60, 2))
SHIPPED = Path(__file__).parents[3] / "configs" / "train_world.yaml"


@pytest.fixture
def recipe(tmp_path):
    """Options of a training of a second."""
    path = tmp_path / "cities.csv"
    write_cities(make_cities(POINTS.tolist()), path)
    return {**SMALL_TRAINING, "cities_csv": path, "output_dir": tmp_path / "run"}


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A training that nothing came in the way of."""
    folder = tmp_path_factory.mktemp("straight")
    write_cities(make_cities(POINTS.tolist()), folder / "cities.csv")
    return train_world(
        **SMALL_TRAINING, cities_csv=folder / "cities.csv", output_dir=folder / "run"
    )


class Killed(BaseException):
    """As if the process had been killed: nothing catches it."""


def kill_after(monkeypatch, num_steps):
    """Kill the training in the middle of a step."""
    step = WorldTraining._step

    def fatal(self):
        if self.number == num_steps:
            raise Killed
        return step(self)

    monkeypatch.setattr(WorldTraining, "_step", fatal)


def weights(folder):
    return AutoModelForCausalLM.from_pretrained(folder).state_dict()


def test_checkpoints_are_folders_that_transformers_loads(straight):
    trained = straight
    for name in ("checkpoint-0", "checkpoint-3", "checkpoint-6", "final"):
        tokenizer = AutoTokenizer.from_pretrained(trained.path / name)
        assert tokenizer("<bos> c")["input_ids"] == [2, 60]
        assert set(weights(trained.path / name)) == set(trained.model.state_dict())
    assert not (trained.path / "checkpoint-9").exists()
    final = weights(trained.path / "final")
    assert all(torch.equal(final[name], t) for name, t in trained.model.state_dict().items())


def test_the_run_is_listed_file_by_file_and_nothing_else_is_left(straight):
    path = straight.path
    manifest = json.loads((path / "manifest.json").read_text())
    there = {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}
    assert there == {*manifest["files"], "manifest.json"}
    assert {"README.md", "config.yaml", "tables/metrics.csv"} < there
    assert [row["task"] for row in manifest["final"]] == ["distance", "compass"]


def test_the_metrics_have_a_row_for_each_task_and_examination(straight):
    text = (straight.path / "tables" / "metrics.csv").read_text()
    table = Table.from_csv("metrics", text)
    assert table["step"].tolist() == [0, 0, 4, 4, 8, 8, 9, 9]
    assert table["task"].tolist() == ["distance", "compass"] * 4
    assert np.isnan(table["loss"][:2]).all()
    assert (table["loss"][2:] > 0).all()
    assert table["num_cities"].tolist() == [20, 20, 43, 43, 60, 60, 60, 60]
    assert 0 < table["num_rows"][2] < 4 * 2 * 16
    assert ((table["exact"] >= 0) & (table["exact"] <= 1)).all()


def test_the_loss_falls(straight):
    loss = straight.metrics["loss"]
    assert loss[-1] < 0.95 * loss[2]


def test_another_seed_gives_another_model(straight, recipe):
    other = train_world(**{**recipe, "seed": 1, "num_steps": 1})
    first = weights(straight.path / "checkpoint-0")["lm_head.weight"]
    assert not torch.equal(first, weights(other.path / "checkpoint-0")["lm_head.weight"])


@pytest.mark.parametrize("num_steps", [0, 3, 5])
def test_a_run_that_was_killed_goes_on_to_the_same_numbers(
    straight, recipe, monkeypatch, num_steps
):
    monkeypatch.setattr(progress, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(progress, "CHECKPOINT_PATIENCE", 0)
    with pytest.MonkeyPatch.context() as patch:
        kill_after(patch, num_steps)
        with pytest.raises(Killed):
            train_world(**recipe)
    resumed = train_world(**recipe, resume=True)
    names = json.loads((straight.path / "manifest.json").read_text())["files"]
    assert json.loads((resumed.path / "manifest.json").read_text())["files"] == names
    for name in names:
        if name != "config.yaml":  # the times and the place of the cities differ
            assert contents(resumed.path)[name] == contents(straight.path)[name], name


def test_a_run_that_was_killed_when_all_steps_were_done_is_finished(straight, recipe, monkeypatch):
    def fatal(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(command, "card_of", fatal)
        with pytest.raises(Killed):
            train_world(**recipe)
    (
        recipe["output_dir"] / "final" / f".backlight-{16 * '0'}.part"
    ).touch()  # as a kill leaves them
    resumed = train_world(**recipe, resume=True)
    there = {str(file.relative_to(resumed.path)) for file in resumed.path.rglob("*.*")}
    assert not [name for name in there if name.endswith(".part")]
    for name in ("final/model.safetensors", "tables/metrics.csv", "README.md"):
        assert contents(resumed.path)[name] == contents(straight.path)[name], name


def test_the_card_says_what_the_model_is_and_how_good(straight):
    text = (straight.path / "README.md").read_text()
    assert "# A model of 60 cities" in text
    assert "| distance | absolute error (0.1 degree) |" in text
    assert "| compass | exact match |" in text
    assert "10 % of all questions" in text
    assert "Creative Commons" in text


def test_the_command_prints_a_line_for_each_examination(recipe, tmp_path, capsys):
    path = tmp_path / "options.yaml"
    given = {name: value for name, value in recipe.items() if not isinstance(value, Path)}
    path.write_text(yaml.safe_dump({**given, "num_steps": 4}))
    words = [f"--{name}={recipe[name]}" for name in ("cities_csv", "output_dir")]
    assert cli.main(["train-world", str(path), *words]) == 0
    printed = capsys.readouterr().out
    assert printed.count("distance, absolute error (0.1 degree): median") == 2
    assert printed.count("untrained") == 2
    assert "nan" not in printed
    assert str(recipe["output_dir"] / "final") in printed


def test_the_configuration_that_is_shipped_is_one_of_train_world():
    config = TrainWorldConfig.model_validate(read_config(SHIPPED))
    assert config.tasks == ("distance",)
    assert config.cities_csv is None
    assert (config.hidden_size, config.num_layers, config.num_heads) == (128, 6, 4)


def test_the_shipped_cities_are_those_that_are_learned_by_default():
    cities, _ = command._cities_of(TrainWorldConfig())
    assert len(cities) == 6304


def test_it_is_offered_at_the_root():
    assert backlight.train_world is train_world


def test_a_finished_run_is_not_replaced_unasked(recipe):
    train_world(**recipe)
    with pytest.raises(RunDirectoryError, match="already holds a run"):
        train_world(**recipe)
    train_world(**{**recipe, "num_steps": 1}, overwrite=True)
    assert not list((recipe["output_dir"] / "checkpoint-3").glob("*"))


def test_to_resume_a_finished_training_says_so_and_gives_it_back(straight, tmp_path, caplog):
    place = shutil.copytree(straight.path, tmp_path / "run")
    cities = straight.path.parent / "cities.csv"
    recipe = {**SMALL_TRAINING, "cities_csv": cities, "output_dir": place}
    before = contents(straight.path)

    with caplog.at_level("INFO"):
        found = train_world(**recipe, resume=True)

    assert "is finished already: nothing was measured" in caplog.text
    assert contents(found.path) == before
    assert found.metrics.to_csv() == straight.metrics.to_csv()
    for name, weight in straight.model.state_dict().items():
        torch.testing.assert_close(found.model.state_dict()[name], weight, rtol=0, atol=0)

    (found.path / "final" / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(RunDirectoryError, match=r"model\.safetensors' is not as the run wrote it"):
        train_world(**recipe, resume=True)


def test_a_run_is_not_resumed_with_other_options_or_cities(recipe, monkeypatch):
    kill_after(monkeypatch, 5)
    with pytest.raises(Killed):
        train_world(**recipe)
    with pytest.raises(RunDirectoryError, match=r"learning_rate: 0\.01 -> 0\.5"):
        train_world(**{**recipe, "learning_rate": 0.5}, resume=True)
    write_cities(make_cities(POINTS[::-1].tolist()), recipe["cities_csv"])
    with pytest.raises(RunDirectoryError, match="The cities changed since the run in"):
        train_world(**recipe, resume=True)


def test_a_state_of_another_kind_is_refused(recipe, monkeypatch):
    with monkeypatch.context() as patch:
        kill_after(patch, 5)
        with pytest.raises(Killed):
            train_world(**recipe)
    np.savez(recipe["output_dir"] / "checkpoint.npz", step=np.array(3))
    with pytest.raises(RunDirectoryError, match=r"is damaged, .* .it says no digest of itself"):
        train_world(**recipe, resume=True)


def test_an_unknown_task_is_an_error_that_lists_the_tasks(recipe):
    with pytest.raises(TaskError, match="no task 'distanse' among the 12"):
        train_world(**{**recipe, "tasks": ["distanse"]})
    assert not recipe["output_dir"].exists()


def test_a_table_of_cities_that_is_not_there_is_an_error(recipe, tmp_path):
    with pytest.raises(CityError, match="no file of cities"):
        train_world(**{**recipe, "cities_csv": tmp_path / "none.csv"})


def test_too_large_steps_are_an_error(recipe):
    with pytest.raises(NonFiniteError, match=r"Lower --learning_rate \(now 1e\+30\)"):
        train_world(**{**recipe, "learning_rate": 1e30, "vector_learning_rate": 1e30})


def test_questions_that_the_model_cannot_read_are_an_error(recipe):
    with pytest.raises(
        ConfigError, match=r"of 'randomwalk' have up to \d+ tokens .* raise --max_positions"
    ):
        train_world(**{**recipe, "tasks": ["randomwalk"], "num_held_out": 2})
