"""Each symptom on histories made by hand, where module and step are known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backlight.training.doctor.catalogue import SYMPTOMS
from backlight.training.doctor.diagnosis import diagnose
from backlight.training.log.history import Event
from zoo.histories import changed, column, healthy, symptoms


def first(history):
    return diagnose(history).findings[0]


@pytest.mark.parametrize("every", [1, 10])
def test_a_healthy_history_has_no_findings(every):
    diagnosis = diagnose(healthy(every=every))

    assert (diagnosis.verdict, diagnosis.findings) == ("healthy", ())
    assert diagnosis.is_healthy
    assert diagnosis.num_steps == 60


def test_every_symptom_that_another_explains_exists():
    named = {name for symptom in SYMPTOMS.values() for name in symptom.explains}

    assert named <= set(SYMPTOMS)


def test_the_page_of_the_doctor_lists_every_symptom():
    text = (Path(__file__).parents[3] / "docs" / "doctor.md").read_text()

    assert [name for name in SYMPTOMS if f"`{name}`" not in text] == []


def test_a_nan_is_told_with_its_step_and_the_deepest_parameter():
    history = healthy()
    where = column(history, "h.2.mlp.c_fc.weight")
    history = changed(history, "norm", range(30, 60), range(where + 1), np.nan)

    found = first(history)

    assert (found.symptom, found.verdict) == ("non_finite", "non-finite")
    assert (found.place.module, found.place.layer) == ("h.2.mlp.c_fc", 2)
    assert (found.since_step, found.until_step) == (31, None)


def test_what_the_watch_saw_wins_over_statistics():
    history = changed(healthy(), "norm", range(30, 60), range(5), np.nan)
    event = Event(
        step=28, what="non_finite", where="weight", module="h.1.attn.c_attn",
        parameter="h.1.attn.c_attn.weight", snapshot="snapshot.safetensors", text="It broke.",
    )  # fmt: skip

    found = first(replace(history, events=(event,)))

    assert (found.since_step, str(found.place)) == (28, "h.1.attn.c_attn (layer 1)")
    assert "It broke" in found.evidence
    assert "snapshot.safetensors" in found.evidence


def test_a_nan_explains_what_comes_after_it_and_the_loss():
    history = changed(healthy(), "norm", range(30, 60), range(14), np.nan)
    losses = history.losses.copy()
    losses[30:] = np.nan

    diagnosis = diagnose(replace(history, losses=losses))

    assert [finding.symptom for finding in diagnosis.findings] == ["non_finite"]


def test_a_loss_alone_can_be_nan():
    history = healthy()
    losses = history.losses.copy()
    losses[20] = np.inf

    found = first(replace(history, losses=losses))

    assert (found.symptom, found.since_step, found.until_step) == ("loss_non_finite", 21, 21)


def test_an_infinite_norm_without_parameters_is_non_finite():
    history = replace(
        healthy(), parameters=(), statistics={}, present=np.zeros((60, 0), dtype=bool)
    )
    norm = history.global_norm.copy()
    norm[40:] = np.nan

    diagnosis = diagnose(replace(history, global_norm=norm))

    assert (diagnosis.verdict, diagnosis.findings[0].since_step) == ("non-finite", 41)
    assert any("no module can be named" in text for text in diagnosis.not_observed)


def absent(history, names, start=0):
    present = history.present.copy()
    present[start:, [column(history, name) for name in names]] = False
    return replace(history, present=present)


def test_one_block_without_a_gradient_is_named():
    found = first(absent(healthy(), ["h.1.attn.c_attn.weight"]))

    assert (found.symptom, found.place.module, found.verdict) == (
        "no_gradient",
        "h.1.attn.c_attn",
        "dead",
    )
    assert "other blocks have one" in found.evidence


def test_a_graph_that_is_cut_is_told_at_the_cut():
    history = healthy()
    before = [info.name for info in history.parameters if info.depth <= 6]

    found = first(absent(history, before, start=20))

    assert (found.symptom, found.since_step) == ("cut_graph", 21)
    assert found.place.module == "h.1"


def test_an_expert_that_misses_one_batch_is_no_finding():
    assert symptoms(absent(healthy(), ["h.1.mlp.c_fc.weight"], start=59)) == set()


def test_a_frozen_block_in_the_middle_is_a_warning_and_frozen_first_blocks_are_a_note():
    def frozen(layers):
        history = healthy()
        infos = tuple(replace(i, trainable=i.layer not in layers) for i in history.parameters)
        return diagnose(replace(history, parameters=infos))

    middle, start = frozen({2}), frozen({0, 1})

    assert [each.symptom for each in middle.findings] == ["frozen"]
    assert middle.findings[0].place.module == "h.2"
    assert middle.verdict == "healthy"
    assert start.findings == ()
    assert start.notes == ("6 of 14 parameters are frozen.",)


def test_what_has_a_gradient_and_never_moves_is_missing_from_the_optimizer():
    history = healthy()
    columns = [p for p, info in enumerate(history.parameters) if info.layer == 1]

    found = first(changed(history, "update_ratio", range(60), columns, 0))

    assert (found.symptom, found.place.module, found.since_step) == ("never_moves", "h.1", 1)


def test_gains_that_never_move_are_a_warning_about_rounding():
    history = healthy()
    gains = [p for p, info in enumerate(history.parameters) if info.kind == "LayerNorm"]

    diagnosis = diagnose(changed(history, "update_ratio", range(60), gains, 0))

    assert [each.symptom for each in diagnosis.findings] == ["rounded_away"]
    assert diagnosis.is_healthy


def test_a_gradient_of_zero_is_dead_from_its_first_step():
    history = healthy()
    where = column(history, "h.3.mlp.c_fc.weight")

    found = first(changed(history, "norm", range(25, 60), where, 0))

    assert (found.symptom, found.place.module) == ("zero_gradient", "h.3.mlp.c_fc")
    assert (found.since_step, found.until_step) == (26, None)


def test_branches_that_start_at_zero_are_no_finding():
    history = healthy()
    columns = [p for p, info in enumerate(history.parameters) if "c_fc" in info.name]

    assert symptoms(changed(history, "norm", range(2), columns, 0)) == set()


def test_zeros_everywhere_are_underflow_and_zeros_in_one_place_dead_units():
    history = healthy()
    zeros = {**history.statistics, "zero": np.full((60, 14), 0.3)}
    zeros["smallest"] = np.full((60, 14), 2.0**-24)
    one = np.full((60, 14), 0.01)
    one[20:, column(history, "h.0.mlp.c_fc.weight")] = 0.8

    assert first(replace(history, statistics=zeros)).symptom == "underflow"
    found = first(replace(history, statistics={**history.statistics, "zero": one}))
    assert (found.symptom, found.severity, found.since_step) == ("dead_units", "warning", 21)
    assert found.evidence.startswith("80% of the gradient of h.0.mlp.c_fc.weight")


def test_a_block_that_moves_too_fast_is_named_with_the_groups_rates():
    history = healthy()
    columns = [p for p, info in enumerate(history.parameters) if info.layer == 2]
    history = changed(history, "update_ratio", range(60), columns, 200)
    rates = np.tile([1e-3, 0.2], (60, 1))

    found = first(replace(history, learning_rates=rates))

    assert (found.symptom, found.place.module, found.since_step) == ("layer_update_large", "h.2", 1)
    assert "from 0.001 to 0.2" in found.evidence


@pytest.mark.parametrize(
    ("factor", "symptom", "since"),
    [(800, "update_large", 1), (1e-4, "update_tiny", 1)],
)
def test_updates_of_all_are_judged_against_the_weights(factor, symptom, since):
    found = first(changed(healthy(), "update_ratio", range(60), range(14), factor))

    assert (found.symptom, found.since_step, found.place.module) == (symptom, since, "")
    assert "learning rate is 0.001" in found.evidence


def test_updates_that_jump_and_updates_that_end_have_their_step():
    jumped = first(changed(healthy(), "update_ratio", range(30, 60), range(14), 100))
    ended = first(changed(healthy(), "update_ratio", range(40, 60), range(14), 0))

    assert (jumped.symptom, jumped.since_step) == ("rate_jump", 31)
    assert (ended.symptom, ended.since_step) == ("rate_zero", 41)


def test_a_warm_up_is_no_jump():
    history = healthy()
    ratios = history.statistics["update_ratio"] * np.minimum(1, np.arange(60) / 40)[:, None]

    assert (
        symptoms(replace(history, statistics={**history.statistics, "update_ratio": ratios}))
        == set()
    )


def test_large_weights_of_queries_and_keys_saturate_the_softmax():
    history = healthy()
    attention = first(
        changed(history, "weight_norm", range(60), column(history, "h.1.attn.c_attn.weight"), 40)
    )
    mlp = first(
        changed(history, "weight_norm", range(60), column(history, "h.1.mlp.c_fc.weight"), 40)
    )
    small = first(
        changed(history, "weight_norm", range(60), column(history, "h.1.mlp.c_fc.weight"), 1 / 40)
    )

    assert (attention.symptom, attention.place.module) == ("saturated_softmax", "h.1.attn.c_attn")
    assert mlp.symptom == "layer_weights_large"
    assert small.symptom == "layer_weights_small"
    assert "40 times larger" in mlp.evidence


def test_a_first_loss_above_even_guessing_is_bad_initialisation_if_weights_are_large():
    history = changed(healthy(), "weight_norm", range(60), range(14), 50)
    losses = history.losses.copy()
    losses[:20] += 10

    assert first(replace(history, losses=losses)).symptom == "large_initialisation"
    assert "large_initialisation" not in symptoms(history)


@pytest.mark.parametrize(
    ("factor", "symptom"), [(8.0, "vanishing_with_depth"), (0.12, "exploding_with_depth")]
)
def test_norms_that_change_from_layer_to_layer_vanish_or_explode(factor, symptom):
    history = healthy()
    for place, info in enumerate(history.parameters):
        layer = 3 if info.layer is None else info.layer
        history = changed(history, "norm", range(60), place, factor ** (layer - 3))

    diagnosis = diagnose(history)

    assert [each.symptom for each in diagnosis.findings] == [symptom]
    assert "4 layers" in diagnosis.findings[0].evidence


def test_a_gradient_that_fades_after_full_first_steps_lacks_a_warm_up():
    history = healthy()
    for place, info in enumerate(history.parameters):
        layer = 3 if info.layer is None else info.layer
        history = changed(history, "norm", range(6, 60), place, 8.0 ** (layer - 3))
    late = replace(history, learning_rates=np.linspace(1e-5, 1e-3, 60)[:, None])

    assert first(history).symptom == "no_warm_up"
    assert first(history).since_step == 7
    assert first(late).symptom == "vanishing_with_depth"


def test_a_branch_whose_gradient_stands_out_from_the_start_is_scaled_wrongly():
    history = healthy()

    found = first(changed(history, "norm", range(60), column(history, "h.2.mlp.c_fc.weight"), 12))

    assert (found.symptom, found.place.module, found.since_step) == (
        "layer_gradient_large",
        "h.2.mlp.c_fc",
        1,
    )


def test_an_explosion_of_one_matrix_is_told_apart_from_one_of_all():
    history = healthy()
    one = first(changed(history, "norm", 45, column(history, "h.0.attn.c_attn.weight"), 1e4))
    all_of_them = first(changed(history, "norm", 45, range(14), 200))

    assert (one.symptom, one.place.module) == ("gradient_spike", "h.0.attn.c_attn")
    assert (all_of_them.symptom, all_of_them.place.module) == ("gradient_spike", "")
    assert (one.since_step, one.until_step) == (46, 46)
    assert (all_of_them.since_step, all_of_them.until_step) == (46, 46)


def test_gradients_that_only_grow_are_never_cleared():
    history = healthy()
    norms = 0.1 * np.arange(1, 61)[:, None] * np.ones((60, 14))
    norms = np.minimum(norms, 1.2 + 0.001 * norms)

    history = replace(history, statistics={**history.statistics, "norm": norms})
    found = first(replace(history, global_norm=np.sqrt((norms**2).sum(axis=1))))

    assert (found.symptom, found.since_step) == ("gradients_pile_up", 1)


@pytest.mark.parametrize(
    ("factor", "symptom", "severity"),
    [
        (1e-8, "gradient_tiny", "error"),
        (1e9, "gradient_huge", "error"),
        (1e3, "gradient_large", "warning"),
    ],
)
def test_absolute_sizes_are_the_last_resort(factor, symptom, severity):
    found = first(changed(healthy(), "norm", range(60), range(14), factor))

    assert (found.symptom, found.severity) == (symptom, severity)


def test_clipping_by_a_factor_of_hundreds_at_every_step_is_a_warning():
    history = healthy()

    found = first(replace(history, clipped_norm=np.full(60, 1e-3)))

    assert (found.symptom, found.severity) == ("always_clipped", "warning")


@pytest.mark.parametrize("name", ["gradient_huge", "gradient_large", "always_clipped"])
def test_a_norm_that_is_too_large_may_be_that_of_a_loss_that_a_scaler_has_scaled(name):
    assert "gradient scaler that the watch does not know" in SYMPTOMS[name].cause
    assert "scaler=" in SYMPTOMS[name].remedy


def with_losses(losses, **options):
    history = healthy(num_steps=len(losses), **options)
    return replace(history, losses=np.asarray(losses, dtype=float))


def noise(count, size=0.03):
    return size * np.random.default_rng(3).standard_normal(count)


def test_losses_that_stay_flat_spike_rise_or_stop_falling_are_told_apart():
    flat = first(with_losses(4.2 + noise(100)))
    spike = 3 + noise(100)
    spike[:50] += np.linspace(1, 0, 50)
    spike[70] = 5
    rising = np.concatenate([np.linspace(4, 3, 50), np.linspace(3, 6, 50)]) + noise(100)
    stuck = np.concatenate([np.linspace(4, 3, 30), np.full(170, 3.0)]) + noise(200)

    assert (flat.symptom, flat.severity) == ("loss_flat", "error")
    found = next(each for each in diagnose(with_losses(spike)).findings if "spike" in each.symptom)
    assert (found.since_step, found.until_step) == (71, 71)
    found = first(with_losses(rising))
    assert found.symptom == "loss_rises"
    assert 50 <= found.since_step <= 70
    found = first(with_losses(stuck))
    assert (found.symptom, found.severity) == ("loss_plateau", "warning")
    assert 20 <= found.since_step <= 40


def test_a_loss_that_falls_at_every_step_to_nothing_is_one_batch():
    assert symptoms(with_losses(4.2 * np.exp(-np.arange(100) / 25))) == {"one_batch"}


def test_too_low_a_learning_rate_explains_a_flat_loss():
    history = changed(with_losses(4.2 + noise(60)), "update_ratio", range(60), range(14), 5e-3)

    diagnosis = diagnose(history)

    assert [each.symptom for each in diagnosis.findings] == ["update_tiny"]
    assert [each.symptom for each in diagnosis.findings[0].followed_by] == ["loss_flat"]


def test_an_earlier_error_is_told_before_a_later_one_and_both_before_warnings():
    history = healthy()
    dead = changed(history, "norm", range(50, 60), column(history, "h.2.mlp.c_fc.weight"), 0)
    still = changed(dead, "update_ratio", range(60), [4, 5], 0)  # block 1 never moves
    large = changed(dead, "norm", range(60), range(14), 300)

    def names(history):
        return [each.symptom for each in diagnose(history).findings]

    assert names(still) == ["never_moves", "zero_gradient"]
    assert names(large) == ["zero_gradient", "gradient_large"]
    assert str(diagnose(still)).startswith("dead: it has a gradient and never moves, h.1")


def test_what_was_not_seen_is_told():
    history = healthy(num_steps=4)
    history = replace(
        history,
        statistics={"norm": history.statistics["norm"]},
        loss_steps=np.empty(0, dtype=np.int64),
        losses=np.empty(0),
    )

    told = " ".join(diagnose(history).not_observed)

    assert "No loss was seen" in told
    assert "learning rate is not judged" in told
    assert "Only 4 steps were recorded" in told


def test_an_empty_history_leaves_nothing_to_judge():
    diagnosis = diagnose(healthy(num_steps=0))

    assert diagnosis.verdict == "nothing to judge"
    assert not diagnosis.is_healthy
    assert "No gradient was read, so this says nothing about it." in diagnosis.not_observed


def test_biases_of_keys_are_explained():
    history = healthy()
    infos = list(history.parameters)
    infos[1] = replace(
        infos[1], name="h.0.attn.k_proj.bias", module="h.0.attn.k_proj", kind="Linear"
    )

    notes = diagnose(replace(history, parameters=tuple(infos))).notes

    assert any("h.0.attn.k_proj.bias" in note and "softmax" in note for note in notes)
