"""The city model that comes with the package, asked what it was never told."""

from importlib.resources import files

import numpy as np
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from backlight.world.cities import read_cities
from backlight.world.learning.evaluation import Exam
from backlight.world.learning.questions import held_out_questions
from backlight.world.questions.catalogue import find_task

WORLD = files("backlight.world")
MODELS = WORLD / "city_model"
NAMES = ("checkpoint-1000", "checkpoint-4000", "final")


@pytest.fixture(scope="module")
def exam():
    cities = read_cities(str(WORLD / "cities.csv"))
    random = np.random.default_rng(2026)
    task = find_task("distance")
    prompts = held_out_questions(task, cities, 200, random, held_out=0.02)
    return Exam(task=task, cities=cities, prompts=prompts)


def evaluation_of(name, exam):
    folder = str(MODELS / name)
    model = AutoModelForCausalLM.from_pretrained(folder).float()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return exam.evaluate(model, tokenizer)


def test_it_knows_distances_of_pairs_that_it_never_saw(exam):
    found = evaluation_of("final", exam)
    assert found.median < found.constant_median / 20
    assert found.mean < found.constant_mean / 10


def test_it_knew_less_on_the_way(exam):
    medians = [evaluation_of(name, exam).median for name in NAMES]
    assert medians == sorted(medians, reverse=True)
    assert medians[0] > 4 * medians[-1]


def test_there_is_no_model_but_these():
    assert sorted(folder.name for folder in MODELS.iterdir() if folder.is_dir()) == list(NAMES)
