"""Answers of a model, and their scores."""

from types import SimpleNamespace

import pytest
import torch

from backlight.objectives.prompts import Piece, Prompt
from backlight.world.learning import evaluation
from backlight.world.learning.evaluation import Exam, answer_greedily
from backlight.world.model import city_tokenizer, new_city_model
from backlight.world.questions.catalogue import find_task
from zoo.cities import SIX_CITIES

QUESTIONS = ["dist(c_0007,c_0012)=", "compass(c_0007,c_0012)=", "dist(c_0865,c_0012)="]


def prompt(answer, question=QUESTIONS[0]):
    return Prompt(pieces=(Piece(name="question", text=question),), answer=answer)


def test_answers_are_those_that_transformers_generates():
    tokenizer = city_tokenizer()
    model = new_city_model(5, hidden_size=16, num_layers=2, num_heads=2, init_scale=0.5)
    answers = answer_greedily(model, tokenizer, QUESTIONS, max_tokens=7)
    for question, answer in zip(QUESTIONS, answers, strict=True):
        ids = tokenizer(" ".join(("<bos>", *question)), return_tensors="pt").input_ids
        whole = model.generate(ids, max_new_tokens=7, do_sample=False)[0, ids.shape[1] :]
        expected = tokenizer.decode(whole).partition("<eos>")[0].removeprefix("<bos>")
        assert answer == expected


class Recites:
    """A model that says what it was told to say, a token at a time."""

    def __init__(self, *answers):
        self.rows = city_tokenizer()([" ".join(answer) for answer in answers])["input_ids"]
        self.config = SimpleNamespace(eos_token_id=3)
        self.num_calls = 0

    def __call__(self, input_ids, **_):
        logits = torch.zeros(len(input_ids), 1, 98)
        for row, tokens in enumerate(self.rows):
            logits[row, 0, tokens[min(self.num_calls, len(tokens) - 1)]] = 1.0
        self.num_calls += 1
        return SimpleNamespace(logits=logits, past_key_values=None)


def test_an_answer_is_what_comes_before_the_end_and_nothing_more():
    model = Recites(["1", "2", "<eos>", "3", "4"], ["5", "6", "7", "<eos>"])
    questions = [QUESTIONS[0], QUESTIONS[2]]
    assert answer_greedily(model, city_tokenizer(), questions, max_tokens=9) == ["12", "567"]
    assert model.num_calls == 4  # it is not asked on when all have ended


def test_an_answer_without_an_end_is_cut_off():
    model = Recites(["1"], ["2"])
    questions = [QUESTIONS[0], QUESTIONS[2]]
    assert answer_greedily(model, city_tokenizer(), questions, max_tokens=3) == ["111", "222"]


def exam(*answers):
    prompts = [prompt(answer) for answer in answers]
    return Exam(task=find_task("distance"), cities=SIX_CITIES, prompts=prompts)


def test_the_best_constant_is_the_mean_of_numbers_and_else_the_most_frequent():
    assert exam("1", "2", "9").constant == "4"
    assert exam("N", "S", "S").constant == "S"
    assert exam("TRUE", "12", "TRUE").constant == "TRUE"


def test_scores_are_errors_in_the_unit_of_the_task(monkeypatch):
    given = ["100", "115", "no"]
    monkeypatch.setattr(evaluation, "answer_greedily", lambda *args, **options: given)
    found = exam("100", "110", "240").evaluate(None, None)
    worst = (3600**2 + 1800**2) ** 0.5
    assert (found.median, found.mean) == (5.0, pytest.approx((0 + 5 + worst) / 3))
    assert found.exact == pytest.approx(1 / 3)
    assert (found.constant_median, found.constant_mean) == (50.0, pytest.approx(60.0))
