"""Angles against trigonometry, and against rules of which the answer is known."""

import math

import pytest
import torch
from torch.testing import assert_close

from backlight.labs.characters.alignment import angle, error_angles, gradient_angles
from backlight.labs.characters.backward import matrix_gradients
from backlight.learning_rules import LocalGPT, LocalGPTConfig

SIZES = {"block_size": 6, "vocab_size": 9, "n_layer": 2, "n_head": 2, "n_embd": 8}


def network(**options):
    torch.manual_seed(4)
    return LocalGPT(LocalGPTConfig(**SIZES, **options)).double()


def rows():
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randint(9, (2, 3, 6), generator=generator))


def with_feedback(factor):
    model = network(method="fa")
    for module in model.modules():
        if hasattr(module, "feedback"):
            module.feedback.copy_(factor * module.weight.detach().t())
    return model


@pytest.mark.parametrize("degrees", [0.0, 1e-6, 0.01, 30.0, 90.0, 135.0, 180.0])
def test_an_angle_is_exact_from_the_smallest_to_the_largest(degrees):
    radians = math.radians(degrees)
    second = 3 * torch.tensor([math.cos(radians), math.sin(radians)], dtype=torch.float64)
    found = angle(torch.tensor([0.5, 0.0], dtype=torch.float64), second)
    assert float(found) == pytest.approx(degrees, rel=1e-9, abs=1e-12)


def test_nothing_has_no_angle():
    assert angle(torch.zeros(2, 3), torch.ones(2, 3)).isnan().all()


@pytest.mark.parametrize(("factor", "degrees"), [(1.0, 0.0), (2.5, 0.0), (-1.0, 180.0)])
def test_feedback_along_the_weights_sends_errors_along_or_against(factor, degrees):
    angles = error_angles(with_feedback(factor), rows())
    assert angles[:2].isnan().all()  # embeddings send nothing on
    assert_close(angles[2:], torch.full_like(angles[2:], degrees), atol=1e-5, rtol=0)


def test_feedback_that_is_the_weights_gives_the_gradients_of_backpropagation():
    true = matrix_gradients(network(), rows())
    angles = gradient_angles(true, matrix_gradients(with_feedback(1.0), rows()))
    assert float(angles.max()) < 1e-5


def test_the_head_learns_exactly_under_every_rule():
    true = matrix_gradients(network(), rows())
    for method in ("fa", "dfa", "sign_uniform", "sign_random"):
        angles = gradient_angles(true, matrix_gradients(network(method=method), rows()))
        assert float(angles[-1]) < 1e-5
        assert float(angles[:-1].min()) > 1


def test_the_error_angle_of_the_head_is_that_of_the_known_error():
    model = network(method="sign_uniform")
    tokens, targets = rows()
    logits = model(tokens)[0].detach()
    error = (logits.softmax(-1) - torch.eye(9)[targets]).flatten(0, 1)
    weight = model.lm_head.weight.detach()
    sent, true = error @ weight.sign(), error @ weight
    cosines = torch.nn.functional.cosine_similarity(sent, true)
    expected = cosines.arccos().rad2deg().mean()
    assert_close(error_angles(model, rows())[-1], expected)


def test_rules_without_their_own_linear_maps_have_no_error_angles():
    for method in ("bp", "dfa"):
        assert error_angles(network(method=method), rows()).isnan().all()
