"""The warning index of branches is what autograd says of scaling each, in every family."""

import numpy as np
import pytest
import torch

from backlight.capture.record import record_activations
from backlight.models.taps import tapping
from backlight.objectives.objective import NextToken
from backlight.surveys.flow.measure.residual import ResidualView
from backlight.surveys.flow.measure.survey import Flow, survey_flow
from backlight.surveys.flow.tables import flow_tables
from zoo.flow import subject_of
from zoo.models import CONFIGS
from zoo.subjects import batch_of, passages_of


def surveyed(subject, batches, reduction="sequence_mean"):
    state = Flow({"residual": ResidualView(subject, range(subject.num_layers))})
    for _ in survey_flow(subject, passages_of(), batches, state, reduction=reduction):
        pass
    return state


def terms_and_sum(subject, half):
    """Name what a branch adds, and where the sum can be read."""
    prefix, both = f"layers.{half.layer}.", ("attn", "mlp")
    named = {"attention": ("attn",), "mlp": ("mlp",), "block": both}[half.name]
    where = (
        "resid.post" if half.name != "attention" or subject.wiring == "parallel" else "resid.mid"
    )
    if subject.wiring == "post_norm":
        where = {"attention": "norm1.in", "mlp": "norm2.in"}[half.name]
    return [f"{prefix}{name}.contribution" for name in named], prefix + where


def slope_along(subject, batch, terms):
    """Differentiate the summed loss by a factor that all the terms are multiplied by."""
    factor = torch.ones((), dtype=torch.float64, requires_grad=True)
    sites = [subject.sites[term] for term in terms]
    with torch.enable_grad(), tapping(subject, sites, lambda site, tensor: tensor * factor):
        output = subject.forward(batch.input_ids)
    gradient = NextToken()(output, batch, subject.head).gradient
    return torch.autograd.grad(output, factor, gradient)[0].item()


@pytest.mark.parametrize("name", CONFIGS)
def test_size_and_prediction_of_leaving_a_branch_out_are_those_of_scaling_it(name):
    subject = subject_of(name, torch.float64)
    batch = batch_of()
    state = surveyed(subject, [list(range(len(batch.passages)))])
    table = flow_tables(state)[0]

    for row, half in enumerate(state.views["residual"].halves):
        terms, end = terms_and_sum(subject, half)
        seen = record_activations(
            subject, batch, [subject.sites[site] for site in (*terms, end)]
        ).activations

        change = -slope_along(subject, batch, terms) / len(batch.passages)
        lengths = sum(seen[term] for term in terms).norm(dim=-1) / seen[end].norm(dim=-1)
        size = lengths[batch.valid].mean().item()
        assert table["relative_size"][row] == pytest.approx(size, rel=1e-6), half.name
        assert table["predicted_change"][row] == pytest.approx(change, rel=1e-5, abs=1e-9)
        index = table["warning_index"][row]
        assert index == pytest.approx(size**2 / abs(table["predicted_change"][row]), rel=1e-5)
        assert table["likely_wrong"][row] == (index > 0.1)


@pytest.mark.parametrize("reduction", ["sequence_mean", "token_sum"])
def test_batches_that_are_put_together_differently_say_the_same(reduction):
    subject = subject_of("llama", torch.float64)

    found, other = (
        flow_tables(surveyed(subject, batches, reduction), reduction)[0]
        for batches in ([[0, 1, 2, 3, 4, 5]], [[5, 2], [0], [4, 1, 3]])
    )

    for name in ("relative_size", "predicted_change"):
        np.testing.assert_allclose(other[name], found[name], rtol=1e-9)


def test_a_survey_goes_on_from_its_state_bit_by_bit():
    subject = subject_of("llama")
    whole = surveyed(subject, [[0, 1, 2], [3, 4, 5]])
    again = Flow({"residual": ResidualView(subject, range(subject.num_layers))})
    again.restore(surveyed(subject, [[0, 1, 2]]).state())

    for _ in survey_flow(subject, passages_of(), [[0, 1, 2], [3, 4, 5]], again):
        pass

    first, second = flow_tables(whole)[0], flow_tables(again)[0]
    assert first == second
    assert (first["relative_size"] > 0).all()
