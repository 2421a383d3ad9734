"""The city model that comes with the package, asked what it was never told."""

from importlib.resources import files

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from backlight.world.cities import read_cities
from backlight.world.learning.evaluation import constant_answer, evaluate
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
    return task, cities, held_out_questions(task, cities, 200, random, held_out=0.02)


def marks_of(name, exam):
    task, cities, prompts = exam
    folder = str(MODELS / name)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    constant = constant_answer(prompts)
    return evaluate(model, tokenizer, task, cities, prompts, constant=constant, max_tokens=6)


def test_it_knows_distances_of_pairs_that_it_never_saw(exam):
    marks = marks_of("final", exam)
    assert marks.median < marks.constant_median / 20
    assert marks.mean < marks.constant_mean / 10


def test_it_knew_less_on_the_way(exam):
    medians = [marks_of(name, exam).median for name in NAMES]
    assert medians == sorted(medians, reverse=True)
    assert medians[0] > 4 * medians[-1]


def test_there_is_no_model_but_these():
    assert sorted(folder.name for folder in MODELS.iterdir() if folder.is_dir()) == list(NAMES)
