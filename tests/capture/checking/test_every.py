"""Right models pass every check, and what is wrong with the others is found by the right one."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from backlight.capture.checking import precision
from backlight.capture.checking.every import NUM_STEPS, check_all
from backlight.capture.checking.sample import Sample
from backlight.data.batches import Passages
from backlight.models.loading import subject_from_transformers
from backlight.models.modules import subject_from_module
from backlight.objectives import objective
from zoo import odd
from zoo.by_hand import ByHand, Short
from zoo.models import tiny_model
from zoo.subjects import passages_of, subject_of
from zoo.tokenizers import WordTokenizer
from zoo.unsound import VOCABULARY, WIDTH, unsound

ALL_MASK_ATTENTION_FUNCTIONS = pytest.importorskip(
    "transformers.masking_utils"
).ALL_MASK_ATTENTION_FUNCTIONS

AGAIN, TRAINING, LOOKED = (
    "the same batch again",
    "in training mode",
    "all sites looked at",
)
PADS, TWO, FOUR = (
    "with pads on the right",
    "in a ragged batch of 2",
    "in a ragged batch of 4",
)
CLOSED, FUSED = "loss in closed form", "fused head and loss"
STEPS, ITSELF = "slope in a direction", "replaced by itself"
WITHIN, AFTER = "zeros, from their layer", "the model afterwards"


class CountingToTen(ByHand):
    def forward(self, ids):
        if ids.shape[1] > 10:
            raise ValueError("at most 10 tokens")
        return super().forward(ids)


def sample_of(subject, vocabulary=99):
    passages = Passages(tokens=[rows % vocabulary for rows in passages_of((20, 18)).tokens])
    return Sample.of(subject, passages, max_length=20, seed=0)


def checks_of(subject, **options):
    steps = list(check_all(sample_of(subject, **options)))
    return {check.what: check for step in steps for check in step.checks}


def not_fine(checks):
    return {name for name, check in checks.items() if check.verdict == "not fine"}


@pytest.mark.parametrize(
    "name", ["llama", "gemma2", "granite", "gpt2", "opt post-norm", "falcon parallel", "mixtral"]
)
def test_every_check_is_fine_on_a_model_whose_numbers_are_right(name):
    checks = checks_of(subject_of(name))

    assert not_fine(checks) == set()
    made = {what for what, check in checks.items() if check.verdict == "fine"}
    expected = {AGAIN, TRAINING, LOOKED, PADS, TWO, FOUR, CLOSED, FUSED, STEPS, ITSELF, WITHIN}
    assert made >= {*expected, AFTER, "float32 (in use)", "loss and all gradients"}
    assert checks[PADS].num_sites == checks["float32 (in use)"].num_sites > 20
    assert 0 < checks["float32 (in use)"].gradient < 1e-3
    assert checks[ITSELF].loss == 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_other_formats_are_held_to_their_own_rounding(dtype):
    assert not_fine(checks_of(subject_of("llama", dtype))) <= {
        "bfloat16 (in use)",
        "share of zeros in bfloat16",
    }


def test_a_module_that_nobody_knows_passes_every_check_that_can_be_made_of_it():
    checks = checks_of(unsound())

    assert not_fine(checks) == set()
    assert {what for what, check in checks.items() if check.verdict == "not made"} == {
        "attention kernel",
        WITHIN,
    }
    assert "no interface at which kernels can be exchanged" in checks["attention kernel"].words


@pytest.mark.parametrize(("kind", "verdict"), [(Short, "fine"), (CountingToTen, "not made")])
def test_pads_end_where_the_positions_of_a_module_end(kind, verdict):
    torch.manual_seed(0)
    passages = Passages(tokens=[np.arange(length) for length in (6, 5, 8, 7)])
    sample = Sample.of(subject_from_module(kind(), WordTokenizer()), passages, max_length=8, seed=0)
    checks = {check.what: check for step in check_all(sample) for check in step.checks}

    assert not_fine(checks) == set()
    assert checks[PADS].verdict == verdict


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ("company", {TWO, FOUR}),
        ("positions from the end", {PADS, TWO, FOUR}),
        ("dropout always on", {AGAIN}),
        ("memory", {AGAIN}),
        ("halved on the way back", {STEPS}),
        ("large numbers", {"float32 (in use)"}),
        ("hooks counted", {LOOKED}),
        ("notes on tensors", {ITSELF}),
        ("weights written", {AGAIN, AFTER}),
        ("not finite", {"loss and all gradients"}),
    ],
)
def test_what_is_wrong_with_a_model_is_found_by_the_check_for_it(fault, found):
    checks = checks_of(unsound(fault))

    assert not_fine(checks) >= found
    healthy = {PADS, TWO, FOUR, AGAIN, STEPS, LOOKED, AFTER, CLOSED} - found
    if fault in ("company", "positions from the end", "halved on the way back", "large numbers"):
        assert not not_fine(checks) & healthy
    assert all(checks[name].words for name in found)


@pytest.mark.parametrize("kind", odd.WORKING, ids=lambda kind: kind.__name__)
def test_modules_with_quirks_that_are_no_faults_pass(kind):
    torch.manual_seed(0)
    checks = checks_of(subject_from_module(kind(), WordTokenizer()), vocabulary=odd.VOCABULARY)

    # A part that is cut off from the graph makes the gradient another thing than the slope.
    assert not_fine(checks) == ({STEPS} if kind is odd.Detaching else set())


def test_a_site_that_turns_out_to_hold_nothing_is_left_out_with_the_reason():
    torch.manual_seed(0)
    subject = subject_from_module(odd.Experts(), WordTokenizer())

    checks = checks_of(subject, vocabulary=odd.VOCABULARY)

    assert checks["gradient at experts.1"].verdict == "not made"
    assert "that is no row for each token" in checks["gradient at experts.1"].words


def test_numbers_that_are_not_finite_end_the_checks_and_say_where():
    checks = checks_of(unsound("not finite"))

    assert set(checks) == {"loss and all gradients", AFTER}
    assert "first site that is not finite is out" in checks["loss and all gradients"].words


def test_an_overflow_of_float16_is_said_to_be_none_in_float32():
    checks = checks_of(unsound("overflow", torch.float16))

    assert set(checks) == {"loss and all gradients", AFTER}
    words = checks["loss and all gradients"].words
    assert words.endswith("In float32 the loss is finite, with the same weights.")
    assert "the first site that is not finite is" in words


def test_gradients_that_are_too_small_for_float16_are_counted():
    check = checks_of(unsound("faint", torch.float16))["share of zeros in float16"]

    assert check.verdict == "not fine"
    assert check.gradient > 0.5
    assert check.words == (
        "So many gradients are too small for float16 and are zero. Use --dtype float32 or bfloat16."
    )


def test_gradients_under_another_rule_are_not_held_against_derivatives():
    subject = subject_of("llama")
    checks = checks_of(replace(subject, facts={**subject.facts, "backward": "frozen"}))

    reason = "gradients go back by the rule frozen, no derivative"
    assert checks[STEPS].words == checks[FUSED].words == reason
    assert {checks[STEPS].verdict, checks[FUSED].verdict} == {"not made"}
    assert not_fine(checks) == set()


def test_a_model_that_remembers_having_been_in_training_mode_is_found():
    class Remembers(nn.Linear):
        was_trained = False

        def __setattr__(self, name, value):
            super().__setattr__(name, value)
            if name == "training" and value and getattr(self, "is_ready", False):
                self.was_trained = True

        def forward(self, x):
            return super().forward(x) * (1.1 if self.was_trained else 1.0)

    model = nn.Sequential(nn.Embedding(VOCABULARY, WIDTH), Remembers(WIDTH, VOCABULARY)).eval()
    subject = subject_from_module(model, WordTokenizer())
    model[1].is_ready = True

    checks = checks_of(subject)

    assert TRAINING in not_fine(checks)
    assert not not_fine(checks) & {AGAIN, PADS, LOOKED, AFTER}


def test_a_kernel_with_wrong_gradients_is_found_by_the_other_kernel():
    def attend(module, query, key, value, mask, **settings):
        out = ALL_ATTENTION_FUNCTIONS["sdpa"](module, query, key, value, mask, **settings)
        return out[0] - 0.3 * (out[0] - out[0].detach()), None  # the same forward, less backward

    model = tiny_model("llama")
    ALL_ATTENTION_FUNCTIONS["unsound"] = attend
    ALL_MASK_ATTENTION_FUNCTIONS.register("unsound", ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
    try:
        model.config._attn_implementation = "unsound"
        subject = subject_from_transformers(model, WordTokenizer(), name="tiny")
        sample = sample_of(subject)
        checks = [check for step in check_all(sample) for check in step.checks]
    finally:
        del ALL_ATTENTION_FUNCTIONS["unsound"]

    kernels = {check.against: check for check in checks if "kernel" in check.what}
    assert {name: check.verdict for name, check in kernels.items()} == {
        "kernel eager": "not fine",
        "kernel sdpa": "not fine",
    }
    assert kernels["kernel eager"].gradient > 0.01
    assert kernels["kernel eager"].loss < 1e-5
    assert kernels["kernel eager"].what == "kernel unsound (in use)"
    steps = next(check for check in checks if check.what == STEPS)
    assert steps.verdict == "not fine"
    assert model.config._attn_implementation == "unsound"


def test_a_head_that_is_not_the_models_own_is_found():
    subject = subject_of("llama")
    wrong = replace(subject, head=replace(subject.head, scale=1.5))

    assert not_fine(checks_of(wrong)) == {FUSED}


def test_a_wrong_closed_form_is_found(monkeypatch):
    right = objective._chunk
    monkeypatch.setattr(
        objective, "_chunk", lambda *given: (right(*given)[0], 1.01 * right(*given)[1])
    )

    assert not_fine(checks_of(unsound())) >= {CLOSED, STEPS}


def test_large_errors_of_bfloat16_are_found_in_its_row_alone():
    checks = checks_of(unsound("large numbers", torch.bfloat16))

    assert {"bfloat16 (in use)"} <= not_fine(checks)
    assert "--dtype float32" in checks["bfloat16 (in use)"].words
    assert not not_fine(checks) & {AGAIN, TRAINING, LOOKED, ITSELF, STEPS, AFTER}


def test_a_module_that_leaves_the_kernel_to_pytorch_is_held_against_the_plain_formula():
    class Attends(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.out = nn.Embedding(VOCABULARY, WIDTH), nn.Linear(WIDTH, VOCABULARY)

        def forward(self, ids):
            x = self.embedding(ids)[:, None]
            attended = torch.nn.functional.scaled_dot_product_attention(x, x, x, is_causal=True)
            return self.out(attended[:, 0])

    checks = checks_of(subject_from_module(Attends(), WordTokenizer()))

    check = checks["kernel of PyTorch"]
    assert (check.verdict, check.against) == ("fine", "its plain formula")
    assert check.num_sites == 2


def test_memory_that_is_not_there_leaves_checks_out_with_the_reason(monkeypatch):
    monkeypatch.setattr(precision, "free_memory", lambda device: 1000)
    checks = checks_of(unsound())

    assert {checks[what].verdict for what in ("float32 (in use)", STEPS)} == {"not made"}
    assert checks[STEPS].words.endswith("must be free, and 0.0 GB are")


def test_a_model_that_does_not_run_in_float64_says_so():
    class Single(nn.Linear):
        def forward(self, x):
            if x.dtype == torch.float64:
                raise RuntimeError("no kernel\nfor this")
            return super().forward(x)

    model = nn.Sequential(nn.Embedding(VOCABULARY, WIDTH), Single(WIDTH, VOCABULARY))
    checks = checks_of(subject_from_module(model, WordTokenizer()))

    assert checks[STEPS].words == "the model does not run in float64: no kernel"
    assert checks["float32 (in use)"].verdict == "not made"


def test_the_model_is_as_it_was_afterwards_and_no_hook_is_left():
    model = tiny_model("gpt2").train()
    model.transformer.h[1].requires_grad_(False)
    before, weights = copy.deepcopy(model.state_dict()), list(model.parameters())
    grads = [parameter.requires_grad for parameter in weights]
    subject = subject_from_transformers(model, WordTokenizer(), name="tiny")
    random = torch.get_rng_state()

    assert len(list(check_all(sample_of(subject)))) == NUM_STEPS

    assert all(module.training for module in model.modules())
    assert all(a is b for a, b in zip(model.parameters(), weights, strict=True))
    assert [parameter.requires_grad for parameter in weights] == grads
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.get_default_dtype() == torch.float32


def test_small_steps_leave_an_error_of_the_second_order():
    check = checks_of(subject_of("llama"))[STEPS]

    assert check.gradient < 1e-6
    assert "(order 2." in check.words or "(order 1.9" in check.words
