"""What a worker refuses to measure with."""

import pytest
import yaml

import backlight
from backlight.errors import RunDirectoryError, WorkerError
from backlight.surveys import SURVEYS
from backlight.surveys.driver.engines.task import Task, measuring
from backlight.surveys.layers.options import LayersConfig


@pytest.fixture
def task(options, place):
    """The task of a run that was begun here."""
    backlight.layers(**options, output_dir="out", figures="none", quiet=True)
    material = yaml.safe_load((place / "out" / "config.yaml").read_text())["provenance"]

    def made(**others):
        told = {"material": material, "options": LayersConfig(**options), **others}
        return Task(survey=SURVEYS["layers"], threads=1, **told)

    return made


def test_another_version_of_backlight_is_refused(task):
    with pytest.raises(WorkerError, match=r"has backlight \S+, but the run was begun with 0\.0\.7"):
        measuring(task(version="0.0.7"))


def test_a_model_on_another_device_is_the_same_and_another_text_is_not(task, options):
    material = task().material
    elsewhere = {**material, "model": {**material["model"], "device": "cuda:3"}}
    assert measuring(task(material=elsewhere))(0)

    with pytest.raises(RunDirectoryError, match="was given another corpus than the run began"):
        measuring(task(options=LayersConfig(**{**options, "num_samples": 5})))
