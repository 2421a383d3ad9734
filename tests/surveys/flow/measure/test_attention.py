"""Attention taken apart, against autograd through eager attention, for every family."""

import numpy as np
import pytest
import torch

from backlight.capture.attention import keeping_attention
from backlight.capture.record import record
from backlight.errors import UnsupportedSiteError
from backlight.models.taps import per_token
from backlight.surveys.flow.measure.attention import AttentionView, attention_gradient
from zoo.eager_attention import mean_of
from zoo.flow import TAPPABLE, distance, subject_of, surveyed, tables_of
from zoo.subjects import LENGTHS, batch_of


def recorded(subject, batch):
    kinds = ("q", "k", "v", "z")
    names = [f"layers.{layer}.attn.{kind}" for layer in range(subject.num_layers) for kind in kinds]
    with keeping_attention(subject, range(subject.num_layers)) as calls:
        tape = record(subject, batch, [subject.sites[name] for name in names])
    return tape, calls


@pytest.mark.parametrize(
    ("name", "kernel"),
    [
        *((name, "eager") for name in TAPPABLE),
        *((name, "sdpa") for name in ("llama", "mistral", "gemma3", "phi", "gpt2", "qwen3")),
    ],
)
def test_gradients_at_queries_keys_and_values_are_those_of_autograd(name, kernel):
    subject, batch = subject_of(name, attn_implementation=kernel), batch_of()

    tape, calls = recorded(subject, batch)

    for layer in range(subject.num_layers):
        found = attention_gradient(tape, layer, calls[layer])
        for kind in ("q", "k", "v"):
            site = subject.sites[f"layers.{layer}.attn.{kind}"]
            flat = per_token(site, getattr(found, kind), batch.input_ids.shape)
            assert distance(flat, tape.gradients[site.name]) <= 1e-5, site.name


@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt_oss"])
def test_in_half_precision_they_are_so_but_for_its_rounding(name):
    subject, batch = subject_of(name, torch.bfloat16), batch_of()

    tape, calls = recorded(subject, batch)

    found = attention_gradient(tape, 2, calls[2])
    for kind in ("q", "k", "v"):
        site = subject.sites[f"layers.2.attn.{kind}"]
        flat = per_token(site, getattr(found, kind), batch.input_ids.shape)
        assert flat.dtype == torch.float32
        assert distance(flat, tape.gradients[site.name]) <= 0.03, site.name


@pytest.fixture
def softmaxes(monkeypatch):
    """Keep what enters and leaves the softmax of eager attention, in the order of the layers."""
    seen, plain = [], torch.nn.functional.softmax

    def watched(scores, *args, **options):
        weights = plain(scores, *args, **options)
        if scores.dim() == 4 and scores.requires_grad:
            scores.retain_grad()
            weights.retain_grad()
            seen.append((scores, weights))
        return weights

    monkeypatch.setattr(torch.nn.functional, "softmax", watched)
    return seen


@pytest.mark.parametrize("name", TAPPABLE)
def test_sums_over_scores_and_weights_are_those_of_autograd(name, softmaxes):
    subject, batch = subject_of(name, attn_implementation="eager"), batch_of((1,))
    tape, calls = recorded(subject, batch)
    softmaxes.clear()
    hidden = subject.model.get_input_embeddings()(batch.input_ids).detach().requires_grad_()
    subject.model(inputs_embeds=hidden, labels=batch.input_ids, use_cache=False).loss.backward()

    assert len(softmaxes) == subject.num_layers
    for layer, (scores, weights) in enumerate(softmaxes):
        sums = attention_gradient(tape, layer, calls[layer]).sums
        keys = batch.input_ids.shape[1]  # what stands behind them is a sink
        visible = weights[0, ..., :keys] > 0
        grad_weights = weights.grad[0, ..., :keys] * visible
        grad_scores = scores.grad[0, ..., :keys]
        rows = weights[0].detach()
        close = {"rtol": 1e-4, "atol": 1e-12}
        found = {name: getattr(sums, name)[0].float() for name in sums.__dataclass_fields__}
        torch.testing.assert_close(
            found["weights_square"], grad_weights.square().sum((1, 2)), **close
        )
        torch.testing.assert_close(
            found["scores_square"], grad_scores.square().sum((1, 2)), **close
        )
        torch.testing.assert_close(
            found["first_scores_square"], grad_scores[..., 0].square().sum(1), **close
        )
        entropy = torch.special.entr(rows).sum((1, 2))
        torch.testing.assert_close(found["entropy"], entropy, rtol=1e-4, atol=1e-5)
        largest = rows[..., :keys].amax(-1).sum(1)
        torch.testing.assert_close(found["largest"], largest, rtol=1e-4, atol=1e-6)
        sunk = rows[..., keys:].sum((1, 2))
        torch.testing.assert_close(found["sink_weight"], sunk, rtol=1e-4, atol=1e-6)


def test_the_table_has_a_row_for_each_head_and_levels_of_even_rows():
    table = tables_of(surveyed(subject_of("llama"), ["attention"], layers=[0, 2]))["attention"]

    assert table["layer"].tolist() == [0] * 4 + [2] * 4
    assert table["head"].tolist() == [0, 1, 2, 3] * 2
    visible = np.concatenate([np.arange(1, length + 1) for length in LENGTHS])
    np.testing.assert_allclose(table["even_entropy"], np.log(visible).mean(), rtol=1e-5)
    np.testing.assert_allclose(table["even_largest"], (1 / visible).mean(), rtol=1e-5)
    assert (table["entropy"] < table["even_entropy"]).all()
    assert (table["largest"] > table["even_largest"]).all()
    assert (table["sink_weight"] == 0).all()
    assert table.units["scores_norm"] == table.units["weights_norm_se"] == "nats"
    assert table.units["z_norm"] == "nats/unit"
    assert table.units["even_entropy"] == "nats"
    assert "shrink" not in table.units


def test_ratios_of_the_table_are_those_of_the_sums_over_all_sequences():
    subject, names = subject_of("gpt_oss"), range(len(LENGTHS))
    tape, calls = recorded(subject, batch_of(tuple(names)))
    sums = attention_gradient(tape, 1, calls[1]).sums

    table = tables_of(surveyed(subject, ["attention"], layers=[1]))["attention"]

    expected = {
        "shrink": mean_of(sums, "shrink_square").sqrt(),
        "even_shrink": mean_of(sums, "even_shrink_square").sqrt(),
        "entropy": mean_of(sums, "entropy"),
        "largest": mean_of(sums, "largest"),
        "saturation_share": mean_of(sums, "saturation_share"),
        "query_key_share": mean_of(sums, "query_key_share"),
        "first_scores_share": mean_of(sums, "first_scores_share"),
        "first_k_share": sums.first_k_square.sum(0) / sums.k_square.sum(0),
        "first_v_share": sums.first_v_square.sum(0) / sums.v_square.sum(0),
        "first_weight": sums.first_weight.sum(0) / sums.num_queries.sum(),
        "sink_weight": sums.sink_weight.sum(0) / sums.num_queries.sum(),
        "z_norm": (sums.z_square.sum(0) / sums.num_queries.sum()).sqrt(),
        "q_norm": (sums.q_square.sum(0) / sums.num_queries.sum()).sqrt(),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(table[name], values, rtol=1e-4, atol=1e-9, err_msg=name)
    per_sequence = (sums.scores_square, sums.weights_square)
    ratio = float(per_sequence[0][:, 2].sum() / per_sequence[1][:, 2].sum())
    spread = (per_sequence[0][:, 2] - ratio * per_sequence[1][:, 2]).square().sum()
    error = (spread * 6 / 5).sqrt() / per_sequence[1][:, 2].sum() / (2 * ratio**0.5)
    assert table["shrink_se"][2] == pytest.approx(float(error), rel=1e-3)


def test_shares_by_distance_add_up_and_end_with_the_window():
    table = tables_of(surveyed(subject_of("mistral"), ["attention"], layers=[1]))[
        "attention_distance"
    ]

    for head in range(4):
        own = table.select(table["head"] == head)
        assert own["distance_first"].tolist() == [0, 1, 2]
        assert own["distance_last"].tolist() == [0, 1, 3]
        assert own["share"].sum() == pytest.approx(1)
        assert own["pairs"].sum() == pytest.approx(1)
    pairs = [min(place + 1, 4) for length in LENGTHS for place in range(length)]
    first = table["pairs"][0]
    assert first == pytest.approx(sum(LENGTHS) / sum(pairs))


@pytest.mark.parametrize("name", ["bloom", "mpt", "falcon parallel", "gptj", "gpt_neo"])
def test_attention_beside_the_interface_has_no_view_but_the_others_run(name):
    subject = subject_of(name)

    with pytest.raises(UnsupportedSiteError, match=r"\w+Attention.* does not go through"):
        AttentionView(subject, [0])

    assert len(tables_of(surveyed(subject, ["norms", "residual"]))) == 5
