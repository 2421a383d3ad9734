"""The survey of prompts against `retain_grad` on whole tensors of the plain Transformers model."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from backlight.errors import FamilyProofError, StateError
from backlight.models.blocks.rerun import Blocks
from backlight.objectives.answers import AnswerObjective
from backlight.objectives.grid import align
from backlight.objectives.prompts import Piece, Prompt
from backlight.objectives.spans import PromptTokens
from backlight.surveys.driver.paths import Paths
from backlight.surveys.tokens.measure import survey
from backlight.surveys.tokens.measure.joining import join_rows
from backlight.surveys.tokens.measure.survey import (
    COMPLETENESS,
    MEASURES,
    PromptSet,
    TokenSurvey,
    reachable,
    survey_tokens,
)
from zoo.offsets import byte_tokenizer
from zoo.subjects import subject_of

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-7}
SOME_KINDS = ("attn.z", "mlp.out")
KINDS = ("resid.pre", "resid.post", "mlp.out", "attn.out")
# Tokens of each piece, of the answer, and of the ending.
SIZES = [(1, 1, 2, 2, 1), (1, 4, 2, 1, 1), (1, 3, 2, 3, 1), (1, 4, 2, 1, 1), (1, 2, 2, 2, 1)]
PIECES = ("bos", "country", "comma")


def material_of(goal="loss", *, include_ending=False):
    random = np.random.default_rng(0)
    pieces = tuple(Piece(name=name, text=name, is_field=name == "country") for name in PIECES)
    prompts = [Prompt(pieces=pieces, answer="x", wrong_answer="y")] * len(SIZES)
    located = []
    for *own, answer, ending in SIZES:
        owners = tuple(np.repeat(PIECES, own).tolist())
        start = len(owners)
        located.append(
            PromptTokens(
                ids=random.integers(3, 50, start + answer + ending),
                owners=owners,
                start=start,
                stop=start + answer,
                wrong_ids=(77,),
            )
        )
    return PromptSet(
        prompts=prompts,
        located=located,
        grid=align(prompts, located, byte_tokenizer()),
        objective=AnswerObjective.of(goal, prompts, located, include_ending=include_ending),
    )


def sites_of(subject, kinds=KINDS):
    return [
        site
        for site in subject.sites.values()
        if site.name.endswith(kinds) or site.name in ("embed.out", "final_norm.out")
    ]


def measure(subject, material, sites, batches=((3, 0), (1, 2), (4,)), targets=None):
    state = TokenSurvey(len(material.prompts))
    targets = range(len(material.grid.positions)) if targets is None else targets
    steps = list(survey_tokens(subject, material, batches, state, sites=sites, targets=targets))
    assert state.num_batches == len(steps) == len(batches)
    assert all(step.resumable for step in steps)
    return state


def value_by_hand(logits, tokens, goal, *, include_ending):
    """The objective of one prompt from all logits of its own."""
    if goal == "loss":
        stop = len(tokens.ids) if include_ending else tokens.stop
        targets = torch.from_numpy(tokens.ids[tokens.start : stop])
        return cross_entropy(logits[tokens.start - 1 : stop - 1], targets)
    wrong = logits[tokens.start - 1, 77] if goal == "logit_difference" else 0.0
    return logits[tokens.start - 1, tokens.ids[tokens.start]] - wrong


def by_hand(model, tokens, goal="loss", *, include_ending=False):
    """Whole tensors with their gradients, of one prompt that passes alone: [tokens, width]."""
    model.requires_grad_()
    decoder = model.model if hasattr(model, "model") else model.transformer
    blocks = decoder.layers if hasattr(decoder, "layers") else decoder.h
    held, handles = {}, []

    def hold(module, key):
        def hook(module, inputs, output):
            held[key] = output[0] if isinstance(output, tuple) else output
            held[key].retain_grad()

        handles.append(module.register_forward_hook(hook))

    for layer, block in enumerate(blocks):
        hold(block.mlp, f"layers.{layer}.mlp.out")
        hold(
            block.self_attn if hasattr(block, "self_attn") else block.attn,
            f"layers.{layer}.attn.out",
        )
    hold(blocks[-1], f"layers.{len(blocks) - 1}.resid.post")  # hidden_states[-1] is normed
    output = model(
        input_ids=torch.from_numpy(tokens.ids)[None], output_hidden_states=True, use_cache=False
    )
    for handle in handles:
        handle.remove()
    for layer, hidden in enumerate(output.hidden_states[:-1]):
        hidden.retain_grad()
        held[f"layers.{layer}.resid.pre"] = hidden
        if layer:
            held[f"layers.{layer - 1}.resid.post"] = hidden
    held["embed.out"] = held["layers.0.resid.pre"]
    held["final_norm.out"] = output.hidden_states[-1]
    held["final_norm.out"].retain_grad()
    value = value_by_hand(output.logits[0], tokens, goal, include_ending=include_ending)
    value.backward()
    model.requires_grad_(False)
    return value.detach(), {
        name: (tensor.detach()[0].double().numpy(), tensor.grad[0].double().numpy())
        for name, tensor in held.items()
    }


def relative_error(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(
    ("name", "goal", "ending"),
    [
        ("qwen2", "loss", False),
        ("llama", "loss", True),
        ("gpt2", "logit", False),
        ("qwen2", "logit_difference", False),
    ],
)
def test_every_number_is_that_of_the_plain_model(name, goal, ending, dtype):
    subject, material = subject_of(name, dtype), material_of(goal, include_ending=ending)
    sites, grid = sites_of(subject), material.grid
    expected = [
        by_hand(subject.model, tokens, goal, include_ending=ending) for tokens in material.located
    ]

    state = measure(subject, material, sites)

    assert len(sites) == 3 * 4 + 2
    values = [float(value) for value, _ in expected]
    assert relative_error(state.value, values) <= TOLERANCE[dtype]
    for site in sites:
        found = {key: state.measured[f"{site.name}/{key}"] for key in MEASURES}
        assert {array.shape for array in found.values()} == {(5, 1, len(grid.positions))}
        oracle = {key: np.full((5, 1, len(grid.positions)), np.nan) for key in MEASURES}
        vectors = {kind: {} for kind in ("activations", "gradients")}
        for row, (_, held) in enumerate(expected):
            activation, gradient = held[site.name]
            for column, position in enumerate(grid.positions):
                span = slice(grid.starts[row, column], grid.stops[row, column])
                if span.start == span.stop:
                    continue
                oracle["gradient_norm"][row, 0, column] = np.mean(
                    [np.sqrt((token**2).sum()) for token in gradient[span]]
                )
                oracle["activation_norm"][row, 0, column] = np.mean(
                    [np.sqrt((token**2).sum()) for token in activation[span]]
                )
                oracle["grad_x_act"][row, 0, column] = np.mean(
                    [
                        (one * two).sum()
                        for one, two in zip(gradient[span], activation[span], strict=True)
                    ]
                )
                for kind, tensor in (("activations", activation), ("gradients", gradient)):
                    vectors[kind].setdefault(position.name, {})[row] = tensor[span].mean(axis=0)
        for key in MEASURES:
            np.testing.assert_array_equal(np.isnan(found[key]), np.isnan(oracle[key]))
            # A norm that follows makes gradient and activation orthogonal: they are the scale then.
            scale = oracle["gradient_norm"] * oracle["activation_norm"]
            scale = scale if key == "grad_x_act" else oracle[key]
            error = np.nanmax(np.abs(found[key] - oracle[key])) / np.nanmax(scale)
            assert error <= TOLERANCE[dtype], (site.name, key)
        for kind, by_position in vectors.items():
            largest = max(np.abs(v).max() for rows in by_position.values() for v in rows.values())
            for position, rows in by_position.items():
                kept = state.vectors[f"{site.name}/{position}/{kind}"]
                assert kept.dtype == np.float32
                assert set(np.flatnonzero(~np.isnan(kept).any(axis=1)).tolist()) == set(rows)
                for row, vector in rows.items():
                    error = np.abs(kept[row] - vector).max() / largest
                    assert error <= max(TOLERANCE[dtype], 1e-7)  # kept in float32


def test_the_last_layers_output_is_exactly_zero_where_no_answer_is_predicted():
    subject, material = subject_of("qwen2", torch.float64), material_of()
    last = subject.sites["layers.2.resid.post"]

    state = measure(subject, material, [last])

    norms = state.measured["layers.2.resid.post/gradient_norm"][:, 0]
    known = ~np.isnan(norms)
    reached = reachable(subject, material, last)
    assert ((norms != 0) == reached)[known].all()
    assert not reached[~known].any()
    names = [position.name for position in material.grid.positions]
    assert names == [
        *("bos", "country_first", "country_middle", "country_last", "comma_1", "comma_2"),
        *("answer_first", "answer_middle", "answer_last"),
    ]
    # The token before the answer predicts it; the answer's last token predicts the ending.
    counts = reached.sum(axis=0).tolist()
    assert counts == [0, 0, 0, 0, 0, 5, 3, 1, 0]


def test_losses_and_answers_are_those_of_the_plain_model():
    subject, material = subject_of("qwen2", torch.float64), material_of()
    located = []
    for row, tokens in enumerate(material.located):
        ids = tokens.ids.copy()
        if row % 2:  # what the model would say
            for place in range(tokens.start, tokens.stop):
                logits = subject.model(input_ids=torch.from_numpy(ids[:place])[None]).logits
                ids[place] = int(logits[0, -1].argmax())
        located.append(replace(tokens, ids=ids))
    objective = AnswerObjective.of("loss", material.prompts, located)
    material = replace(material, located=located, objective=objective)

    state = measure(subject, material, [subject.sites["layers.0.mlp.out"]], targets=[])

    for row, tokens in enumerate(located):
        logits = subject.model(input_ids=torch.from_numpy(tokens.ids)[None]).logits[0]
        rows = logits[tokens.start - 1 : tokens.stop - 1]
        targets = torch.from_numpy(tokens.ids[tokens.start : tokens.stop])
        total = cross_entropy(rows, targets, reduction="sum").item()
        assert state.nats[row] == pytest.approx(total, rel=1e-9)
        assert state.right[row] == bool((rows.argmax(dim=1) == targets).all())
    assert state.right[1::2].all()
    assert state.vectors == {}


def test_prompts_do_not_depend_on_the_prompts_beside_them():
    subject, material = subject_of(dtype=torch.float64), material_of()
    sites = sites_of(subject, ("resid.post", "attn.v"))

    one, other = (
        measure(subject, material, sites, batches=batches)
        for batches in (((0,), (1,), (2,), (3,), (4,)), ((4, 2, 0, 1, 3),))
    )

    assert one.state().keys() == other.state().keys()
    for name in other.measured:
        np.testing.assert_allclose(one.measured[name], other.measured[name], rtol=1e-9, atol=1e-13)
    for name in other.vectors:
        np.testing.assert_allclose(one.vectors[name], other.vectors[name], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(one.value, other.value, rtol=1e-12)


@pytest.mark.parametrize("num_done", [0, 1, 2, 3])
def test_a_survey_that_goes_on_from_a_state_has_the_same_bits(num_done):
    subject, material = subject_of(dtype=torch.float32), material_of()
    sites, batches = sites_of(subject, ("resid.post", "attn.q")), ((3, 0), (1, 2), (4,))
    options = {"sites": sites, "targets": [1, 4]}
    whole = measure(subject, material, sites, targets=[1, 4])
    first = TokenSurvey(5)
    for step, _ in enumerate(survey_tokens(subject, material, batches, first, **options), start=1):
        if step == num_done:
            break
    else:
        first = TokenSurvey(5)
    kept = {name: np.array(array) for name, array in first.state().items()}

    again = TokenSurvey(5)
    again.restore(kept)
    left = list(survey_tokens(subject, material, batches, again, **options))

    assert len(left) == 3 - num_done
    found, expected = again.state(), whole.state()
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype != object
        assert found[name].tobytes() == array.tobytes(), name


def test_a_state_has_rows_of_the_prompts_alone_that_were_measured():
    subject, material = subject_of(), material_of()
    part = measure(subject, material, sites_of(subject), ((3, 0),))

    state = part.state()

    assert state["rows"].tolist() == [0, 3]
    assert all(len(array) == 2 for name, array in state.items() if name != "num_batches")
    with pytest.raises(StateError, match=r"'rows' are not some of 3 prompts in their order"):
        TokenSurvey(3).restore(state)


@pytest.mark.parametrize("cut", range(4))
def test_prompts_in_two_parts_merge_into_the_whole_bit_by_bit(cut):
    subject, material = subject_of(), material_of()
    sites, batches = sites_of(subject), ((3, 0), (1, 2), (4,))
    whole = measure(subject, material, sites, batches)
    parts = [measure(subject, material, sites, own) for own in (batches[cut:], batches[:cut])]

    parts[0].merge(parts[1])

    found, expected = parts[0].state(), whole.state()
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].tobytes() == array.tobytes(), name


@pytest.mark.parametrize("cut", [1, 2])
def test_rows_of_two_parts_are_joined_bit_by_bit_as_parts_are_merged(cut):
    subject, material = subject_of(), material_of()
    sites, batches = sites_of(subject), ((3, 0), (1, 2), (4,))
    whole = measure(subject, material, sites, batches, targets=[0]).state()
    parts = [
        measure(subject, material, sites, own, targets=[0]).state()
        for own in (batches[cut:], batches[:cut])
    ]

    found = join_rows(*parts)

    assert list(found) == list(whole)
    for name, array in whole.items():
        assert found[name].dtype == array.dtype, name
        assert found[name].tobytes() == array.tobytes(), name


def test_parts_with_other_arrays_are_not_joined():
    subject, material = subject_of(), material_of()
    first = measure(subject, material, sites_of(subject), ((3, 0),)).state()

    with pytest.raises(StateError, match=r"only one of two parts has \['nats'\]"):
        join_rows(first, {name: each for name, each in first.items() if name != "nats"})


def test_a_prompt_that_both_parts_have_measured_is_refused():
    subject, material = subject_of(), material_of()
    sites = sites_of(subject)
    first, second = (measure(subject, material, sites, own) for own in (((3, 0),), ((1, 3),)))

    with pytest.raises(StateError, match="prompt 3 is in both of two parts"):
        first.merge(second)
    with pytest.raises(StateError, match="prompt 3 is in both of two parts"):
        join_rows(first.state(), second.state())


@pytest.mark.parametrize(
    ("kind", "heads"), [("attn.q", 4), ("attn.k", 2), ("attn.v", 2), ("attn.z", 4)]
)
def test_heads_add_up_to_the_whole(kind, heads):
    subject, material = subject_of("llama", torch.float64), material_of()
    site = subject.sites[f"layers.1.{kind}"]

    state = measure(subject, material, [site], targets=[0])

    measured = {key: state.measured[f"{site.name}/{key}"] for key in MEASURES}
    assert {array.shape[1] for array in measured.values()} == {1 + heads}
    product = measured["grad_x_act"]
    np.testing.assert_allclose(product[:, 1:].sum(axis=1), product[:, 0], rtol=1e-9, atol=1e-12)
    alone = [column for column, each in enumerate(material.grid.positions) if each.part != "middle"]
    for key in ("gradient_norm", "activation_norm"):
        squares = measured[key][:, :, alone] ** 2
        np.testing.assert_allclose(squares[:, 1:].sum(axis=1), squares[:, 0], rtol=1e-9)


def test_all_inner_sites_of_attention_agree_with_causality_in_single_precision():
    subject, material = subject_of("llama", torch.float32), material_of("logit")
    sites = [
        site
        for site in subject.sites.values()
        if site.tap.side in ("query", "key", "value") or "norm" in site.name
    ]

    state = measure(subject, material, sites, targets=[])

    assert len(state.measured) == 3 * len(sites)
    for site in sites:
        assert reachable(subject, material, site).shape == (5, len(material.grid.positions))


def test_a_gradient_that_causality_forbids_is_an_error(monkeypatch):
    subject, material = subject_of(dtype=torch.float64), material_of()
    site = subject.sites["layers.1.resid.post"]

    def fake(subject, site, reads, num_tokens):
        found = np.ones((len(reads), num_tokens), dtype=bool)
        found[2, 4] = False
        return found

    monkeypatch.setattr(survey, "follows", fake)

    with pytest.raises(
        FamilyProofError,
        match=r"At layers\.1\.resid\.post, token 4 of prompt 2 has a gradient, but in a causal "
        r"model with these blocks it cannot reach the objective\. Please report this model\.",
    ):
        measure(subject, material, [site])


@pytest.mark.parametrize("goal", ["loss", "logit", "logit_difference"])
def test_along_paths_positions_and_heads_divide_the_true_change(goal):
    subject, material = subject_of("qwen2", torch.float64), material_of(goal)
    sites = [subject.sites[f"layers.{layer}.{kind}"] for layer in (0, 2) for kind in SOME_KINDS]
    batches, state = ((3, 0), (1, 2), (4,)), TokenSurvey(len(material.prompts))
    paths = Paths(num_nodes=12, blocks=Blocks.of(subject))

    list(survey_tokens(subject, material, batches, state, sites=sites, targets=[0], paths=paths))

    plain = measure(subject, material, sites, targets=[0])
    np.testing.assert_array_equal(state.right, plain.right)
    np.testing.assert_array_equal(state.value, plain.value)
    rows = np.arange(1, 5)  # the only token of the first prompt's country is its first and last
    for site in sites:
        changes = state.measured[f"{site.name}/{COMPLETENESS}"][rows]
        products = state.measured[f"{site.name}/grad_x_act"][rows]
        by_position = np.nansum(products * material.grid.counts[rows, None], axis=2)
        np.testing.assert_allclose(-by_position[:, 0], changes[:, 1], rtol=1e-6, atol=1e-10)
        if site.name.startswith("layers.2"):
            missing = np.abs(changes[:, 1] - changes[:, 2]).max()
            assert missing < 0.02 * np.abs(changes[:, 2]).max()
        if site.num_heads > 1:
            np.testing.assert_allclose(
                by_position[:, 1:].sum(1), by_position[:, 0], rtol=1e-6, atol=1e-10
            )
        before = plain.measured[f"{site.name}/activation_norm"]
        np.testing.assert_array_equal(state.measured[f"{site.name}/activation_norm"], before)
    again = TokenSurvey(len(material.prompts))
    again.restore(state.state())
    for name, array in state.measured.items():
        np.testing.assert_array_equal(again.measured[name], array)


def test_positions_that_cannot_reach_the_answer_have_no_gradient_along_paths_either():
    subject, material = subject_of("llama", torch.float64), material_of()
    site, state = subject.sites["layers.2.mlp.out"], TokenSurvey(len(material.prompts))
    paths = Paths(num_nodes=2, blocks=None)

    list(survey_tokens(subject, material, [range(5)], state, sites=[site], targets=[], paths=paths))

    norms = state.measured[f"{site.name}/gradient_norm"][:, 0]
    known = ~np.isnan(norms)
    assert ((norms != 0) == reachable(subject, material, site))[known].all()
