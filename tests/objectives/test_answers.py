"""Objectives of answers against autograd through all logits, in float64."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from backlight.data.batches import Batch, Passages
from backlight.errors import PromptError
from backlight.models.wiring.head import Head
from backlight.objectives import objective
from backlight.objectives.answers import AnswerObjective, answered
from backlight.objectives.prompts import Piece, Prompt
from backlight.objectives.spans import PromptTokens

VOCABULARY, WIDTH, LENGTH = 13, 6, 9
HEADS = {
    "plain": {},
    "bias": {"bias": True},
    "scale": {"scale": 0.3},
    "soft cap": {"cap": 1.5},
    "all": {"bias": True, "scale": 2.0, "cap": 3.0},
    "none": None,
}
PROMPT = Prompt(pieces=(Piece(name="x", text="a", is_field=True),), answer="b", wrong_answer="c")
# Tokens before the answer, of the answer, of the ending; and the wrong answer.
FORMS = [(3, 2, 1, (4, 5)), (5, 3, 1, (6,)), (1, 1, 2, (7, 7, 7)), (4, 3, 1, (-1, -1, 8))]


def head_of(*, bias=False, scale=1.0, cap=None):
    return Head(
        weight=torch.randn(VOCABULARY, WIDTH, dtype=torch.float64),
        bias=torch.randn(VOCABULARY, dtype=torch.float64) if bias else None,
        scale=scale,
        cap=cap,
    )


def some_prompts(forms=FORMS):
    """Prompts of random tokens; a wrong answer's -1 is the answer's own token."""
    random = np.random.default_rng(0)
    located = []
    for before, inside, behind, wrong in forms:
        ids = random.integers(0, 3, before + inside + behind)
        answer = ids[before : before + inside]
        located.append(
            PromptTokens(
                ids=ids,
                owners=("x",) * before,
                start=before,
                stop=before + inside,
                wrong_ids=tuple(
                    int(answer[place]) if token < 0 else token for place, token in enumerate(wrong)
                ),
            )
        )
    return [PROMPT] * len(located), located


def batch_of(located, members=None):
    passages = Passages(tokens=[tokens.ids for tokens in located])
    return Batch.of(passages, range(len(located)) if members is None else members)


def output_for(head):
    width = VOCABULARY if head is None else WIDTH
    return torch.randn(len(FORMS), LENGTH, width, dtype=torch.float64, requires_grad=True)


def all_logits(output, head):
    return output if head is None else head.logits(output)


def answer_losses(logits, located, *, ending):
    """The losses of each prompt's answer, token by token, from its own logits."""
    for row, tokens in enumerate(located):
        stop = len(tokens.ids) if ending else tokens.stop
        yield cross_entropy(
            logits[row, tokens.start - 1 : stop - 1],
            torch.from_numpy(tokens.ids[tokens.start : stop]),
            reduction="none",
        )


@pytest.fixture(params=HEADS)
def head(request):
    options = HEADS[request.param]
    return None if options is None else head_of(**options)


@pytest.mark.parametrize("ending", [False, True])
def test_the_loss_is_the_mean_over_the_answers_tokens_summed_over_prompts(
    monkeypatch, head, ending
):
    monkeypatch.setattr(objective, "_CHUNK_ELEMENTS", 4 * VOCABULARY)  # several chunks
    prompts, located = some_prompts()
    output = output_for(head)
    measure = AnswerObjective.of("loss", prompts, located, include_ending=ending)

    found = measure(output, batch_of(located), head)

    assert torch.equal(measure.value(output, batch_of(located), head), found.value)
    losses = list(answer_losses(all_logits(output, head), located, ending=ending))
    (expected,) = torch.autograd.grad(sum(loss.mean() for loss in losses), output)
    close = {"rtol": 1e-10, "atol": 1e-12}
    torch.testing.assert_close(found.gradient, expected, **close)
    torch.testing.assert_close(
        found.value, torch.stack([loss.mean() for loss in losses]).detach(), **close
    )
    torch.testing.assert_close(
        found.nats, torch.stack([loss.sum() for loss in losses]).detach(), **close
    )


def logit_places(located, goal):
    """Where a logit is read, the right token and the wrong one, by counting by hand."""
    for tokens in located:
        answer, shared = tokens.ids[tokens.start : tokens.stop].tolist(), 0
        if goal == "logit_difference":
            while answer[shared] == tokens.wrong_ids[shared]:
                shared += 1
            yield tokens.start - 1 + shared, answer[shared], tokens.wrong_ids[shared]
        else:
            yield tokens.start - 1, answer[0], None


@pytest.mark.parametrize("goal", ["logit", "logit_difference"])
def test_logits_and_their_differences_are_those_of_all_logits(head, goal):
    prompts, located = some_prompts()
    output = output_for(head)
    measure = AnswerObjective.of(goal, prompts, located)

    found = measure(output, batch_of(located), head)

    assert torch.equal(measure.value(output, batch_of(located), head), found.value)
    logits = all_logits(output, head)
    values = torch.stack(
        [
            logits[row, place, right] - (0 if wrong is None else logits[row, place, wrong])
            for row, (place, right, wrong) in enumerate(logit_places(located, goal))
        ]
    )
    (expected,) = torch.autograd.grad(values.sum(), output)
    close = {"rtol": 1e-10, "atol": 1e-12}
    torch.testing.assert_close(found.gradient, expected, **close)
    torch.testing.assert_close(found.value, values.detach(), **close)
    # The loss is told as well.
    losses = [loss.sum() for loss in answer_losses(logits, located, ending=False)]
    torch.testing.assert_close(found.nats, torch.stack(losses).detach(), **close)


@pytest.mark.parametrize("goal", ["loss", "logit", "logit_difference"])
def test_outputs_are_read_where_the_gradient_enters(goal):
    prompts, located = some_prompts()
    measure = AnswerObjective.of(goal, prompts, located)

    gradient = measure(output_for(None), batch_of(located), None).gradient

    for row, read in enumerate(measure.reads()):
        assert gradient[row].any(dim=1).nonzero()[:, 0].tolist() == read.tolist()
    expected = {
        "loss": [[2, 3], [4, 5, 6], [0], [3, 4, 5]],
        "logit": [[2], [4], [0], [3]],
        "logit_difference": [[2], [4], [0], [5]],  # the last shares two tokens
    }
    assert [read.tolist() for read in measure.reads()] == expected[goal]


@pytest.mark.parametrize("goal", ["loss", "logit", "logit_difference"])
@pytest.mark.parametrize("members", [(2,), (3, 0), (1, 3, 0)])
def test_a_prompt_has_the_same_objective_in_any_company(goal, members):
    prompts, located = some_prompts()
    head, measure = head_of(bias=True), AnswerObjective.of(goal, prompts, located)
    output = output_for(head)
    whole = measure(output, batch_of(located), head)
    batch = batch_of(located, members)
    size = batch.input_ids.shape[1]

    found = measure(output[list(members), :size], batch, head)

    torch.testing.assert_close(found.gradient, whole.gradient[list(members), :size])
    torch.testing.assert_close(found.value, whole.value[list(members)])
    torch.testing.assert_close(found.nats, whole.nats[list(members)])


def test_a_prompt_is_answered_if_greedy_decoding_gives_every_token(head):
    prompts, located = some_prompts([(3, 2, 1, ())] * 3)
    measure, batch = AnswerObjective.of("loss", prompts, located), batch_of(located)
    logits = torch.zeros(3, 6, VOCABULARY, dtype=torch.float64)
    for row in range(3):
        for place in (2, 3):
            logits[row, place, located[row].ids[place + 1]] = 1.0
    logits[1, 3, 12] = 2.0  # the second token of this one's answer
    logits[2, 1, 12] = 2.0  # not of the answer
    logits[2, 4, 12] = 2.0
    if head is not None:
        # Hidden states that give these logits: a head of the full width.
        head = Head(weight=torch.eye(VOCABULARY, dtype=torch.float64), cap=head.cap)

    found = answered(logits, batch, measure.predicts(batch), head)

    assert found.tolist() == [True, False, True]


def test_many_answers_are_marked_in_chunks(monkeypatch):
    prompts, located = some_prompts()
    measure, batch = AnswerObjective.of("loss", prompts, located), batch_of(located)
    head = head_of()
    output = output_for(head)
    logits = head.logits(output)
    expected = [
        logits[row, tokens.start - 1 : tokens.stop - 1].argmax(dim=1).tolist()
        == tokens.ids[tokens.start : tokens.stop].tolist()
        for row, tokens in enumerate(located)
    ]
    monkeypatch.setattr(objective, "_CHUNK_ELEMENTS", 2 * VOCABULARY)

    assert answered(output, batch, measure.predicts(batch), head).tolist() == expected


def test_an_ending_that_is_not_there_cannot_be_counted():
    prompts, located = some_prompts([(3, 2, 1, ()), (3, 2, 0, ())])

    with pytest.raises(PromptError, match=r"have no ending, such as <eos>, that could be counted"):
        AnswerObjective.of("loss", prompts, located, include_ending=True)


def test_a_difference_needs_a_wrong_answer():
    _, located = some_prompts([(3, 2, 1, ())])
    prompt = Prompt(pieces=PROMPT.pieces, answer="b")

    with pytest.raises(
        PromptError, match=r"compares two answers, and these prompts have one: give"
    ):
        AnswerObjective.of("logit_difference", [prompt], located)


@pytest.mark.parametrize("wrong", [(-1,), (-1, -1), (-1, -1, 5)])
def test_answers_that_do_not_differ_in_a_token_cannot_be_compared(wrong):
    _, (tokens,) = some_prompts([(3, 2, 1, ())])
    answer = [int(token) for token in tokens.ids[3:5]]
    wrong_ids = tuple(answer[place] if token < 0 else token for place, token in enumerate(wrong))
    located = PromptTokens(
        ids=tokens.ids, owners=tokens.owners, start=3, stop=5, wrong_ids=wrong_ids
    )

    with pytest.raises(
        PromptError, match=r"The answers 'b' and 'c' to 'a' differ in no token that both have"
    ):
        AnswerObjective.of("logit_difference", [PROMPT], [located])
