"""A validation, made ready to run."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from backlight.data.batches import Batch
from backlight.errors import ConfigError
from backlight.models.backward_rules.subjects import rule_of
from backlight.objectives.objective import NextToken
from backlight.surveys.driver.clock import Clock
from backlight.surveys.driver.material.opening import Corpus, Opening
from backlight.surveys.driver.measurement import Measurement
from backlight.surveys.driver.shards.sharding import Sharding
from backlight.surveys.driver.steps import Step
from backlight.surveys.driver.words.sentences import count, number
from backlight.surveys.validation.measure.candidates import (
    Opened,
    chosen_kinds,
    field_of,
    plan_of,
)
from backlight.surveys.validation.measure.sample import Sample, sample_of
from backlight.surveys.validation.measure.survey import Plan, Tested, change_units
from backlight.surveys.validation.measure.target import Target
from backlight.surveys.validation.measure.units import number_of
from backlight.surveys.validation.options import ValidateConfig

ValidationMeasurement = Measurement[Tested, Plan]

_MOST = 4000  # units that are planned, if their number is not told


def prepare(options: ValidateConfig, opening: Opening, *, target: Target) -> ValidationMeasurement:
    """Open the run's model and text, run a few passages once, and draw the units.

    Args:
        options: What is asked.
        opening: It knows the time.
        target: The run.

    Returns:
        The validation, ready to run.

    Raises:
        ConfigError: If the run has no units of a kind that was asked for, or one passage only, or
            nothing fires in the passages.
        RunDirectoryError: If its model or text have changed.
    """
    opened = Opened(target=target, measurement=target.open(opening))
    field = field_of(opened)
    kinds = chosen_kinds(field, options.kinds)
    corpus, sample = _sample(options, opened, field.of(kinds))
    most = _MOST if options.units is None else options.units
    planned = plan_of(opened, sample, field, kinds, seed=options.seed, most=most)
    plan = Plan(
        units=planned.units,
        silent=planned.silent,
        layers={kind: list(dict.fromkeys(map(number_of, field.sites[kind]))) for kind in kinds},
        ablations=options.ablations,
        sample=sample,
        command=opened.command,
        kinds=kinds,
        seed=options.seed,
        backward=rule_of(sample.subject),
    )
    sharding = _sharding(options, plan, opening.clock)
    state = sharding.fresh()
    opening.clock.lap("preparation")
    return ValidationMeasurement(
        corpus=corpus,
        run_name=f"validate_{opened.command}_{opened.options.model_file_name}",
        title=f"changing {count(len(planned.units), 'unit')} of {opened.command}",
        state=state,
        sharding=sharding,
        plan=plan,
        unit="units",
        found=partial(_found, state, plan),
        masks=opened.measurement.masks,
        material={"validated": target.identity()},
    )


def _sharding(options: ValidateConfig, plan: Plan, clock: Clock) -> Sharding[Tested]:
    """Test the units as one shard: how many are tested is a matter of time."""

    def steps(batches: Any, state: Tested) -> Iterator[Step]:
        del batches  # the units are those of the plan
        return change_units(plan, state, seconds=options.seconds, passed=clock.total)

    sizes = (len(plan.units), len(plan.ablations), len(plan.sample.batch.passages))
    return Sharding(
        batches=[[unit] for unit in range(len(plan.units))],
        num_tokens=[1] * len(plan.units),
        shards=[range(len(plan.units))],
        fresh=partial(Tested, *sizes),
        steps=steps,
        done=lambda state, _: state.num_done,
    )


def _sample(options: ValidateConfig, opened: Opened, sites: Any) -> tuple[Corpus, Sample]:
    """Draw passages of the run's text, and run them once."""
    own = opened.measurement.corpus
    is_prompts = opened.command == "tokens"
    passages, members = sample_of(
        own.passages,
        count=options.passages,
        longest=None if is_prompts else options.passage_length,
        seed=options.seed,
    )
    if len(members) < 2 <= len(own.passages.tokens):
        raise ConfigError(
            f"Cut after {options.passage_length} tokens, {len(members)} of the run's "
            f"{len(own.passages.tokens)} passages have a token that its loss counts, and two are "
            "needed. Raise --passage_length."
        )
    if len(members) < 2:
        raise ConfigError(
            "The run has one passage only, and how sure an agreement is is told by how passages "
            "differ. Measure two or more."
        )
    reduction = "sequence_mean" if is_prompts else opened.options.loss_reduction
    objective = opened.measurement.plan.prompts.objective if is_prompts else NextToken(reduction)
    sample = Sample.of(
        own.subject,
        Batch.of(passages, members).to(own.subject.device),
        sites,
        objective=objective,
        reduction=reduction,
        seed=options.seed,
    )
    return Corpus(subject=own.subject, passages=passages, batches=[members]), sample


def _found(state: Tested, plan: Plan) -> str:
    """Say in how many of the units tested so far the signs agree."""
    effects = state.effects(0, plan.sample.weights)
    if not len(effects.true):
        return ""
    predicted, true = effects.means()
    agree = float(((predicted > 0) == (true > 0)).mean())
    return f"so far: signs agree in {number(100 * agree, 2)} % of {state.num_done}"
