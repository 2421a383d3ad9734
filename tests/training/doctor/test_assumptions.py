"""What the doctor must not take for granted: each assumption, and a history that breaks it."""

import json
import time
from dataclasses import replace

import numpy as np
import pytest

from backlight.training.doctor.diagnosis import diagnose
from backlight.training.log.history import Event, History
from backlight.training.log.reading import read_history
from zoo.histories import changed, column, healthy, symptoms


def plain(losses=(), norms=(), every=10):
    """A log of another tool: no parameters."""
    steps = every * np.arange(1, len(norms) + 1)
    count = len(norms)
    return History(
        steps=steps,
        present=np.zeros((count, 0), dtype=bool),
        global_norm=np.asarray(norms, dtype=float),
        clipped_norm=np.full(count, np.nan),
        learning_rates=np.zeros((count, 0)),
        scale=np.full(count, np.nan),
        loss_steps=every * np.arange(1, len(losses) + 1),
        losses=np.asarray(losses, dtype=float),
    )


def norms(count=60, seed=0):
    return 0.4 * np.exp(0.15 * np.random.default_rng(seed).standard_normal(count))


def noise(count, size, seed=1):
    return size * np.random.default_rng(seed).standard_normal(count)


def falling(count=60):
    return 1.5 + 2 * np.exp(-np.arange(count) / 20) + noise(count, 0.03)


# A watch that ended


def test_a_watch_that_ended_is_told_and_how_far_the_verdict_holds():
    text = "The watch has ended at step 75, and the training goes on without it: OSError: full."
    event = Event(step=75, what="unwatched", text=text)

    ended = diagnose(replace(healthy(), events=(event,)))
    another = diagnose(replace(healthy(num_steps=90), events=(event,)))

    assert ended.verdict == "healthy"
    assert f"{text} The verdict holds up to step 60 only." in ended.notes
    assert f"{text} Steps up to 76, where another went on, are not judged." in another.notes


def test_a_history_without_norms_of_parameters_is_grouped_and_judged():
    history = healthy()
    without = replace(
        history,
        statistics={name: table for name, table in history.statistics.items() if name != "norm"},
    )

    assert np.isnan(without.layer_norms().norms).all()
    assert np.isnan(without.module_norms().norms).all()
    assert diagnose(without).verdict == "healthy"


def test_a_place_of_several_modules_of_one_layer_is_that_layer():
    history = healthy()
    present = history.present.copy()
    present[:, [column(history, f"h.2.{name}.weight") for name in ("ln", "mlp.c_fc")]] = False
    names = [info.name.replace("h.2.ln", "norms.2") for info in history.parameters]
    infos = tuple(
        replace(info, name=name, module=name.rpartition(".")[0])
        for info, name in zip(history.parameters, names, strict=True)
    )

    (finding,) = diagnose(replace(history, present=present, parameters=infos)).findings

    assert str(finding.place) == "layer 2"


# Numbers that are not finite, or not there


def test_one_step_with_a_norm_of_nan_is_a_warning_and_all_others_are_judged():
    values = norms()
    values[[0, 3]] = np.nan

    diagnosis = diagnose(plain(falling(), values))

    assert diagnosis.verdict == "healthy"
    assert [(each.symptom, each.severity) for each in diagnosis.findings] == [
        ("non_finite", "warning")
    ]
    assert (diagnosis.findings[0].since_step, diagnosis.findings[0].until_step) == (10, 40)
    assert "2 recorded steps were not finite, of 60" in diagnosis.findings[0].evidence


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_happens_after_a_passing_nan_is_found(value):
    values, losses = norms(), falling()
    values[5] = value
    losses[5] = value
    losses[40:] += np.linspace(0, 6, 20)

    diagnosis = diagnose(plain(losses, values))

    assert diagnosis.verdict == "unstable"
    assert diagnosis.findings[0].symptom == "loss_rises"


def test_a_nan_that_lasts_is_an_error_and_ends_the_judgement():
    values, losses = norms(), falling()
    values[5] = np.nan
    values[30:] = np.nan
    losses[31:] = 0.0  # what some trainers write then

    diagnosis = diagnose(plain(losses, values))

    first = diagnosis.findings[0]
    assert (diagnosis.verdict, first.since_step, first.until_step) == ("non-finite", 310, None)


def test_nan_again_and_again_is_an_error_though_it_passes_each_time():
    values = norms()
    values[::4] = np.nan

    assert diagnose(plain(falling(), values)).verdict == "non-finite"


def test_steps_that_a_scaler_leaves_out_are_a_note():
    history = healthy()
    broken = changed(history, "norm", [0, 1, 30], range(14), np.inf)
    events = tuple(
        Event(step=step, what="skipped", where="backward", text="left out") for step in (1, 2, 31)
    )

    diagnosis = diagnose(replace(broken, events=events))

    assert (diagnosis.verdict, diagnosis.findings) == ("healthy", ())
    assert any("3 steps were left out by the gradient scaler" in note for note in diagnosis.notes)


def test_an_event_after_which_all_is_finite_again_is_a_warning():
    event = Event(step=20, what="non_finite", where="forward", module="h.1", text="It broke.")

    diagnosis = diagnose(replace(healthy(), events=(event,)))

    assert diagnosis.verdict == "healthy"
    assert [each.since_step for each in diagnosis.findings] == [20]
    assert "finite again afterwards" in diagnosis.findings[0].evidence


def test_an_event_at_the_very_end_is_an_error():
    history = healthy(every=10, num_steps=6)  # up to step 51
    event = Event(step=51, what="non_finite", where="backward", module="h.1", text="It broke.")

    assert diagnose(replace(history, events=(event,))).verdict == "non-finite"


def test_a_norm_of_the_whole_that_is_not_told_is_no_nan():
    history = replace(healthy(), global_norm=np.full(60, np.nan))

    assert diagnose(history).verdict == "healthy"


def test_losses_between_which_some_are_missing_are_judged():
    history = plain(falling(60)[::2], norms())

    assert diagnose(history).verdict == "healthy"


# Nothing to judge


@pytest.mark.parametrize("history", [plain(), plain(falling()), plain([0.0] * 60)])
def test_a_log_without_a_gradient_is_not_healthy(history):
    diagnosis = diagnose(history)

    assert diagnosis.verdict == "nothing to judge"
    assert not diagnosis.is_healthy
    assert any("No gradient was read" in text for text in diagnosis.not_observed)


def test_a_loss_that_is_bad_is_told_without_a_gradient():
    losses = falling()
    losses[40:] = np.nan

    assert diagnose(plain(losses)).verdict == "non-finite"


# Losses that measure no error


@pytest.mark.parametrize(
    "losses",
    [
        np.zeros(60),
        noise(60, 0.02),
        noise(60, 2e-8),
        -0.02 + noise(60, 0.01),
        np.round(1e-4 * np.arange(60) + 1e-5 * noise(60, 1.0), 4),
        np.linspace(1, -3, 60) + noise(60, 0.05),
        -2 + noise(60, 0.05),
        np.linspace(-5, -0.1, 60) + noise(60, 0.1),
        np.where(np.arange(60) % 3 == 0, 0.0, 0.05),
    ],
    ids=[
        "always zero",
        "around zero",
        "around zero, tiny",
        "below zero",
        "penalty that grows from zero",
        "density",
        "negative and flat",
        "negative and rising",
        "zero now and then",
    ],
)
def test_a_loss_around_or_below_zero_says_nothing_of_progress(losses):
    diagnosis = diagnose(plain(losses, norms()))

    assert (diagnosis.verdict, diagnosis.findings) == ("healthy", ())
    assert any("measures no error" in text for text in diagnosis.not_observed)


@pytest.mark.parametrize("level", [0.693, 1.4, 2.3])
def test_a_flat_loss_is_a_warning_where_it_may_have_been_learned_before(level):
    history = healthy(num_steps=100)
    known = diagnose(replace(history, losses=level + noise(100, 0.03)))
    unknown = diagnose(plain(level + noise(100, 0.03), norms(100)))

    for diagnosis in (known, unknown):
        assert diagnosis.verdict == "healthy"
        assert [each.symptom for each in diagnosis.findings] == ["loss_flat"]


def test_a_loss_that_gives_back_a_part_is_a_warning_and_one_that_runs_away_an_error():
    harder = np.concatenate([np.linspace(4, 2, 50), np.linspace(2, 2.6, 50)]) + noise(100, 0.03)
    away = np.concatenate([np.linspace(4, 2, 50), np.linspace(2, 4, 50)]) + noise(100, 0.03)

    assert diagnose(plain(harder, norms(100))).verdict == "healthy"
    assert diagnose(plain(away, norms(100))).verdict == "unstable"


def without_tokens(history):
    infos = tuple(replace(info, kind="Linear") for info in history.parameters)
    return replace(history, parameters=infos)


def test_a_loss_of_two_who_play_against_each_other_may_rise():
    rising = np.concatenate([np.linspace(0.7, 0.5, 30), np.linspace(0.5, 3, 70)])
    history = replace(healthy(num_steps=100), losses=rising + noise(100, 0.02))

    assert diagnose(without_tokens(history)).verdict == "healthy"
    assert diagnose(history).verdict == "unstable"


def test_losses_of_short_batches_have_no_spikes_but_their_own():
    lengths = np.exp(0.5 * np.random.default_rng(3).standard_normal(2000))

    assert "loss_spike" not in symptoms(plain(1.5 * lengths, norms(2000)))


def test_a_jump_back_to_guessing_is_no_harder_task():
    history = healthy(num_steps=120)
    losses = np.log(67) - 1.8 * (1 - np.exp(-(np.arange(120) % 70) / 15)) + noise(120, 0.03)
    harder = np.where(np.arange(120) < 70, losses, losses - 0.9)

    replaced = diagnose(replace(history, losses=losses))
    milder = diagnose(replace(history, losses=harder))

    first = replaced.findings[0]
    assert (replaced.verdict, first.symptom, first.since_step) == ("unstable", "loss_spike", 71)
    assert "weights are other ones, or the targets" in first.cause
    assert milder.verdict == "healthy"


def test_a_loss_that_falls_slowly_from_guessing_is_a_warning_and_one_that_does_not_an_error():
    history = healthy(num_steps=60)
    start = np.log(67)

    slow = diagnose(replace(history, losses=start - 0.001 * np.arange(60) + noise(60, 0.005)))
    flat = diagnose(replace(history, losses=start + noise(60, 0.005)))

    assert [(each.symptom, each.severity) for each in slow.findings] == [("loss_flat", "warning")]
    assert [(each.symptom, each.severity) for each in flat.findings] == [("loss_flat", "error")]


def test_a_table_of_codes_in_the_middle_is_no_vocabulary():
    history = healthy(num_steps=100)
    rising = np.concatenate([np.linspace(4, 3, 40), np.linspace(3, 6, 60)]) + noise(100, 0.02)
    codes = replace(history.parameters[0], shape=(64, 8), numel=512)
    decoder = replace(history.parameters[-1], shape=(16, 32), numel=512)
    infos = (codes, *history.parameters[1:-1], decoder)

    of_codes = diagnose(replace(history, losses=rising, parameters=infos))
    of_tokens = diagnose(replace(history, losses=rising))
    tied = (*history.parameters[:-1], replace(history.parameters[-1], shape=(32, 128)))

    assert of_codes.verdict == "healthy"
    assert of_tokens.verdict == "unstable"
    assert diagnose(replace(history, losses=rising, parameters=tied)).verdict == "unstable"


def test_the_loss_of_a_log_with_rewards_is_not_judged(tmp_path):
    log = tmp_path / "log.jsonl"

    def judged(name):
        rows = ({"step": t, "loss": 1 + 0.1 * t, "grad_norm": 0.4, name: t} for t in range(50))
        log.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        return diagnose(read_history(log))

    assert judged("rewards/format_reward/mean").verdict == "healthy"
    assert any("The log tells rewards" in text for text in judged("reward").not_observed)
    for name in ("rewards/chosen", "train/rewards/margins", "rewarded"):
        assert judged(name).verdict == "unstable"


def test_a_step_to_a_harder_task_is_a_warning():
    losses = 2 + np.exp(-np.arange(200) / 40) + noise(200, 0.03)
    losses[100:] += 1.5 * np.exp(-np.arange(100) / 40)

    diagnosis = diagnose(plain(losses, norms(200)))

    found = [each for each in diagnosis.findings if each.symptom == "loss_spike"]
    assert [each.since_step for each in found] == [1010]
    assert diagnosis.verdict == "healthy"


# Zeros


def with_zeros(share, smallest, **options):
    history = healthy(**options)
    statistics = {
        **history.statistics,
        "zero": np.broadcast_to(share, (60, 14)).copy(),
        "smallest": np.broadcast_to(smallest, (60, 14)).copy(),
    }
    return replace(history, statistics=statistics)


def of_any_size(seed=0):
    return np.exp(-12 + 2 * np.random.default_rng(seed).standard_normal((60, 14)))


def test_zeros_of_units_that_are_off_are_no_underflow():
    assert symptoms(with_zeros(0.5, of_any_size())) == set()


@pytest.mark.parametrize("floor", [2.0**-24, 1e-6, 1e-3])
def test_zeros_below_one_floor_are_underflow(floor):
    found = diagnose(with_zeros(0.3, floor)).findings[0]

    assert found.symptom == "underflow"
    assert f"{floor:.2g}" in found.evidence


def test_a_floor_far_below_the_usual_entry_takes_nothing_away():
    # A ReLU network in float16 with a scaler: half of the units are off, and the floor is low.
    history = with_zeros(0.5, 2.0**-24 / 2**16)

    assert symptoms(replace(history, scale=np.full(60, 2.0**16))) == set()


def test_logs_without_the_smallest_entries_are_not_judged_by_zeros():
    history = with_zeros(0.5, 1.0)
    statistics = {k: v for k, v in history.statistics.items() if k != "smallest"}

    diagnosis = diagnose(replace(history, statistics=statistics))

    assert diagnosis.findings == ()
    assert any("underflow is not judged" in text for text in diagnosis.not_observed)


def with_experts(usage, seed=0, num_steps=120):
    """Experts in each block in the place of the MLP's matrix, chosen with some probability."""
    history = healthy(num_steps=num_steps)
    infos, columns = list(history.parameters), []
    for place, info in enumerate(infos):
        if "c_fc" in info.name:
            number = len(columns) % 2
            name = f"h.{info.layer}.mlp.experts.{number}.w"
            infos[place] = replace(info, name=f"{name}.weight", module=name)
            columns.append(place)
    random = np.random.default_rng(seed)
    rests = random.random((num_steps, len(columns))) >= usage
    statistics = {name: values.copy() for name, values in history.statistics.items()}
    for place, rest in zip(columns, rests.T, strict=True):
        statistics["norm"][rest, place] = 0
        statistics["norm"][~rest, place] *= np.exp(2 * random.standard_normal((~rest).sum()))
    return replace(history, parameters=tuple(infos), statistics=statistics), columns


@pytest.mark.parametrize("usage", [0.1, 0.3, 0.8])
@pytest.mark.parametrize("absent", [False, True])
def test_experts_that_are_used_seldom_are_healthy(usage, absent):
    history, columns = with_experts(usage)
    if absent:
        present = history.present.copy()
        present[:, columns] = history.statistics["norm"][:, columns] > 0
        history = replace(history, present=present)

    assert symptoms(history) == set()


def test_an_expert_that_is_not_used_any_more_is_dead():
    history, columns = with_experts(0.6)
    history = changed(history, "norm", range(40, 120), columns[2], 0)

    found = diagnose(history).findings[0]

    assert (found.symptom, found.place.module) == ("zero_gradient", "h.2.mlp.experts.0.w")
    assert 38 <= found.since_step <= 41


def test_biases_of_experts_rest_as_their_weights_do():
    history = healthy(num_steps=60, num_layers=3)
    infos = list(history.parameters)
    places = [column(history, f"h.{layer}.ln.weight") for layer in range(3)]
    for number, place in enumerate(places):
        infos[place] = replace(infos[place], name=f"h.0.experts.{number}.bias")
    present = history.present.copy()
    random = np.random.default_rng(3)
    present[:, places] = random.random((60, 3)) < 0.8
    present[45:, places[0]] = False  # a quarter of the record, which is a tide

    diagnosis = diagnose(replace(history, parameters=tuple(infos), present=present))

    assert diagnosis.findings == ()


def test_what_begins_at_zero_and_wakes_is_healthy():
    history = healthy()

    assert symptoms(changed(history, "norm", range(25), [2, 3, 5], 0)) == set()


def test_a_gradient_that_was_zero_for_a_while_is_a_warning():
    where = column(healthy(), "h.2.mlp.c_fc.weight")

    diagnosis = diagnose(changed(healthy(), "norm", range(20, 40), where, 0))

    assert diagnosis.is_healthy
    found = diagnosis.findings[0]
    assert (found.symptom, found.since_step, found.until_step) == ("zero_gradient", 21, 40)


def test_zeros_of_inputs_that_do_not_occur_are_no_dead_units():
    history = healthy()
    where = column(history, "h.1.mlp.c_fc.weight")
    infos = list(history.parameters)
    infos[where - 1] = replace(infos[where - 1], name="h.1.mlp.c_fc.bias", module="h.1.mlp.c_fc")
    zero = np.full((60, 14), 0.01)
    zero[:, where] = 0.9
    history = replace(history, parameters=tuple(infos))

    inputs = replace(history, statistics={**history.statistics, "zero": zero})
    off = zero.copy()
    off[:, where - 1] = 0.9
    units = replace(history, statistics={**history.statistics, "zero": off})

    assert symptoms(inputs) == set()
    assert symptoms(units) == {"dead_units"}


# Updates, sizes, order


def test_weights_that_begin_at_zero_are_not_replaced_by_their_first_steps():
    history = healthy()
    halves = [place for place, info in enumerate(history.parameters) if "c_fc" in info.name]
    grown = np.maximum(1e-3, 1 / np.arange(1, 61))
    ratios = history.statistics["update_ratio"].copy()
    ratios[:, halves] = grown[:, None]

    assert symptoms(
        replace(history, statistics={**history.statistics, "update_ratio": ratios})
    ) == (set())


@pytest.mark.parametrize(
    "rows", [range(5), range(57, 60), range(20, 24)], ids=["waits", "ends", "between"]
)
def test_a_rate_of_zero_for_some_steps_is_part_of_a_schedule(rows):
    assert symptoms(changed(healthy(), "update_ratio", rows, range(14), 0)) == set()


def test_matrices_of_other_shapes_are_no_siblings():
    history = healthy()
    infos = list(history.parameters)
    for place, info in enumerate(infos):
        if "c_fc" in info.name:
            shape = (8 * 4**info.layer, 32)
            infos[place] = replace(info, shape=shape, numel=32 * shape[0])
    wide = changed(history, "weight_norm", range(60), column(history, "h.3.mlp.c_fc.weight"), 20)

    assert symptoms(replace(wide, parameters=tuple(infos))) == set()


def test_a_model_that_has_learned_has_layers_of_its_own():
    where = column(healthy(), "h.2.mlp.c_fc.weight")
    history = changed(healthy(), "norm", range(60), where, 12)

    assert symptoms(history) == {"layer_gradient_large"}
    assert symptoms(replace(history, losses=history.losses - 1.5)) == set()


def test_a_gradient_as_large_as_its_loss_is_not_huge():
    history = changed(healthy(), "norm", range(60), range(14), 1e8)

    assert "gradient_huge" in symptoms(history)
    assert "gradient_huge" not in symptoms(replace(history, losses=1e8 * history.losses))


@pytest.mark.parametrize(("before", "verdict"), [(0.01, "healthy"), (2.0, "dead")])
def test_a_loss_that_came_down_to_zero_has_no_gradient(before, verdict):
    history = healthy(num_steps=60)
    losses = np.concatenate([np.linspace(2.0, before, 30), np.zeros(30)])
    zero = changed(history, "norm", range(30, 60), range(14), 0.0)

    diagnosis = diagnose(replace(zero, losses=losses))

    assert diagnosis.verdict == verdict
    assert symptoms(replace(zero, losses=losses)) >= {"gradient_tiny"}


def test_batches_without_anything_to_learn_are_healthy():
    values = norms()
    values[20:25] = 0.0

    assert symptoms(plain(noise(60, 0.02), values)) == set()
    values[40:] = 0.0
    assert diagnose(plain(noise(60, 0.02), values)).verdict == "vanishing"


def test_a_norm_of_zero_beside_a_falling_loss_is_another_number():
    found = diagnose(plain(falling(), np.zeros(60)))

    assert found.verdict == "healthy"
    assert "not the norm of the gradient" in found.findings[0].cause


def test_smooth_gradients_of_one_batch_are_not_piled_up():
    history = healthy()
    norm = np.minimum(0.1 * np.arange(1, 61), 1.2)[:, None] * np.ones((60, 14))
    whole = np.sqrt((norm**2).sum(axis=1))
    history = replace(history, statistics={**history.statistics, "norm": norm}, global_norm=whole)
    smooth = replace(history, losses=2 + 2 * np.exp(-np.arange(60) / 300))

    assert "gradients_pile_up" in symptoms(history)
    assert "gradients_pile_up" not in symptoms(smooth)


def test_where_steps_begin_again_the_last_run_is_judged():
    both, second = plain(falling(), norms()), plain(falling(40), norms(40))
    bad = both.losses.copy()
    bad[30:] = np.nan
    history = replace(
        both,
        steps=np.concatenate([both.steps, second.steps]),
        present=np.zeros((100, 0), dtype=bool),
        global_norm=np.concatenate([both.global_norm, second.global_norm]),
        clipped_norm=np.full(100, np.nan),
        scale=np.full(100, np.nan),
        learning_rates=np.zeros((100, 0)),
        loss_steps=np.concatenate([both.loss_steps, second.loss_steps]),
        losses=np.concatenate([bad, second.losses]),
    )

    diagnosis = diagnose(history)

    assert (diagnosis.verdict, diagnosis.findings, diagnosis.num_steps) == ("healthy", (), 40)
    assert any("only the last run" in note for note in diagnosis.notes)


@pytest.mark.parametrize("seed", range(3))
def test_any_numbers_at_all_are_judged_without_a_warning_of_numpy(seed):
    random = np.random.default_rng(seed)
    values = np.array([np.nan, np.inf, -np.inf, 0.0, -1.0, 1e308, 5e-324, 1.0])
    history = healthy(num_steps=40)
    statistics = {name: random.choice(values, (40, 14)) for name in history.statistics}

    diagnose(
        replace(
            history,
            statistics=statistics,
            global_norm=random.choice(values, 40),
            clipped_norm=random.choice(values, 40),
            learning_rates=random.choice(values, (40, 2)),
            scale=random.choice(values, 40),
            losses=random.choice(values, 40),
        )
    )
    diagnose(plain(random.choice(values[:-1], 60), random.choice(values, 60)))


def test_a_million_steps_are_judged_within_seconds():
    count = 1_000_000
    places = np.arange(1, count + 1)
    history = plain(3 / (1 + places / 1e5), 1 + 0.1 * ((places * 7919) % 13), every=1)
    begun = time.process_time()

    assert diagnose(history).verdict == "healthy"
    assert time.process_time() - begun < 15
