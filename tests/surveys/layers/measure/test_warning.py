"""The warning index of dimensions is what plain hooks and float64 sums say it is."""

import numpy as np
import pytest
import torch

from backlight.models.sites import resolve_sites
from backlight.surveys.driver.relative import ways_of
from backlight.surveys.layers.measure.profile import Profile, profile, recorder_of
from zoo.subjects import passages_of, subject_of


def measured(subject, batches, quantity="gradients", kind="mlp.out", reduction="sequence_mean"):
    sites = resolve_sites(kind, subject.sites)
    ways, _ = ways_of(subject, sites)
    state = Profile(ways=ways)
    recorder = recorder_of(subject, sites, quantity=quantity, reduction=reduction, ways=ways)
    steps = profile(recorder, passages_of(), batches, state, sites=sites, quantity=quantity)
    for _ in steps:
        pass
    return state


def by_hooks(subject, layer):
    """Compute sizes and products passage by passage, without pads, by hooks and autograd."""
    block, sizes, wholes, products = subject.model.model.layers[layer], [], [], []
    for tokens in passages_of().tokens:
        ids = torch.from_numpy(tokens)[None]
        seen = {}

        def keep(module, inputs, output, seen=seen):
            output.retain_grad()
            seen["x"] = output

        def keep_stream(module, inputs, output, seen=seen):
            seen["r"] = (output[0] if isinstance(output, tuple) else output).detach()

        handles = [block.mlp.register_forward_hook(keep), block.register_forward_hook(keep_stream)]
        logits = subject.model(ids).logits[0, :-1]
        torch.nn.functional.cross_entropy(logits, ids[0, 1:]).backward()
        for handle in handles:
            handle.remove()
        x, gradient, stream = seen["x"].detach()[0], seen["x"].grad[0], seen["r"].reshape(-1, 32)
        lengths = stream.norm(dim=-1)
        sizes.append(x.abs() / lengths[:, None])
        wholes.append(x.norm(dim=-1) / lengths)
        products.append((x * gradient).sum(dim=0))
    size = torch.cat(sizes).mean(dim=0).numpy()
    change = -torch.stack(products).mean(dim=0).numpy()
    return np.append(size, torch.cat(wholes).mean()), np.append(change, change.sum())


def test_sizes_and_predictions_are_those_of_plain_hooks_without_pads():
    subject = subject_of("llama", torch.float64)
    expected_size, expected_change = by_hooks(subject, 1)

    for batches in ([[0, 1, 2], [3, 4, 5]], [[5], [4, 0, 3, 1], [2]]):
        found = measured(subject, batches).warnings.result("layers.1.mlp.out", "sequence_mean")

        np.testing.assert_allclose(found.relative_size, expected_size, rtol=1e-9)
        np.testing.assert_allclose(found.predicted_change, expected_change, rtol=1e-7, atol=1e-12)
        index = expected_size**2 / np.abs(expected_change)
        np.testing.assert_allclose(found.warning_index, index, rtol=1e-6)
        assert set(found.likely_wrong) <= {0.0, 1.0}


def test_parts_that_are_merged_are_the_whole_and_a_state_comes_back():
    subject = subject_of("llama", torch.float64)
    whole, first = measured(subject, [[0, 1], [2, 3, 4, 5]]), measured(subject, [[0, 1]])
    second = measured(subject, [[2, 3, 4, 5]])
    restored = Profile()
    restored.restore(first.state())
    restored.merge(second)

    expected = whole.warnings.state()
    assert expected
    for name, array in restored.warnings.state().items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-12, atol=1e-14)


def test_of_values_alone_the_size_is_known_and_nothing_is_predicted():
    subject = subject_of("llama", torch.float64)
    batches = [[0, 1, 2, 3, 4, 5]]
    found = measured(subject, batches, "values").warnings.result(
        "layers.1.mlp.out", "sequence_mean"
    )

    np.testing.assert_allclose(found.relative_size, by_hooks(subject, 1)[0], rtol=1e-9)
    for blank in (found.predicted_change, found.warning_index, found.likely_wrong):
        assert np.isnan(blank).all()


def test_a_site_without_a_stream_has_no_numbers():
    subject = subject_of("llama")
    state = measured(subject, [[0, 1]], kind="norm1.out")

    assert state.warnings.result("layers.1.norm1.out", "sequence_mean") is None


@pytest.mark.parametrize(("reduction", "number"), [("token_sum", 42), ("batch_mean", 2)])
def test_predictions_are_averaged_as_the_reduction_averages(reduction, number):
    subject = subject_of("llama", torch.float64)
    batches = [[0, 1, 2], [3, 4, 5]]
    state = measured(subject, batches, "grad_x_act", reduction=reduction)

    found = state.warnings.result("layers.1.mlp.out", reduction)

    moments = state.bank.result("layers.1.mlp.out").moments
    expected = -moments.mean * moments.num_tokens / number
    np.testing.assert_allclose(found.predicted_change[:-1], expected, rtol=1e-9)
