"""Questions are spelled in single characters, and what is learned begins after the question."""

import numpy as np
import pytest

from backlight.errors import PromptError
from backlight.objectives.prompts import Piece, Prompt
from backlight.world.questions.catalogue import TASKS
from backlight.world.questions.spelling import compact, loss_mask, spell, spell_row

ROW = "<bos> d i s t ( c _ 0 8 6 5 , c _ 1 2 3 4 ) = 7 6 9 <eos>"


def whole(prompt):
    return prompt.text + prompt.answer + prompt.ending


def test_a_row_is_spelled_with_single_spaces():
    assert spell_row("dist(c_0865,c_1234)=769") == ROW


def test_a_prompt_is_spelled_piece_by_piece():
    pieces = (Piece(name="task", text="up"), Piece(name="k", text="12", is_field=True))
    spelled = spell(Prompt(pieces=pieces, answer="TRUE", wrong_answer="NO", values={"k": 12}))
    assert [piece.text for piece in spelled.pieces] == ["<bos>", " u p", " 1 2"]
    assert [piece.name for piece in spelled.pieces] == ["bos", "task", "k"]
    assert [piece.is_field for piece in spelled.pieces] == [False, False, True]
    assert (spelled.answer, spelled.wrong_answer, spelled.ending) == (" T R U E", " N O", " <eos>")
    assert spelled.values == {"k": 12}
    assert spell(Prompt(pieces=pieces, answer="1")).wrong_answer is None


@pytest.mark.parametrize("task_type", TASKS)
def test_spelled_prompts_are_spelled_rows(task_type, made_up):
    prompts = TASKS[task_type].draw(made_up, 30, np.random.default_rng(0))
    for prompt in prompts:
        assert whole(spell(prompt)) == spell_row(prompt.text + prompt.answer)
        assert compact(spell(prompt).answer + " <eos> ) =") == prompt.answer
        tokens = whole(spell(prompt)).split(" ")
        assert all(len(token) == 1 for token in tokens[1:-1])


@pytest.mark.parametrize("task_type", TASKS)
def test_the_mask_is_one_for_the_answer_and_the_end_alone(task_type, made_up):
    for prompt in TASKS[task_type].draw(made_up, 50, np.random.default_rng(0)):
        mask = loss_mask(whole(spell(prompt)))
        assert mask == "0" * (1 + len(prompt.text)) + "1" * (len(prompt.answer) + 1)


@pytest.mark.parametrize(
    ("row", "num_learned"),
    [
        (ROW, 4),
        (spell_row("circlecount(c_0865,r=50)=13"), 3),
        (spell_row("center(c_0001,c_0002;in=TRUE)=c_0001"), 7),
        (spell_row("randring(c_0865,r=50,R=90,n=2)=c_0001"), 7),
        (spell_row("randring(c_0865,r=50,R=51,n=2)="), 1),
    ],
)
def test_an_equals_sign_inside_the_question_is_not_its_end(row, num_learned):
    mask = loss_mask(row)
    assert len(mask) == len(row.split(" "))
    assert mask == "0" * (len(mask) - num_learned) + "1" * num_learned


def test_a_row_without_a_question_is_refused():
    with pytest.raises(PromptError, match=r"row '<bos> r = 5 <eos>' has no '\) =' after which an"):
        loss_mask("<bos> r = 5 <eos>")
