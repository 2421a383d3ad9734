"""A survey of structured prompts, made ready to run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from backlight.data.batches import bucket
from backlight.errors import ConfigError, nearest, quoted
from backlight.models.sites import Site
from backlight.models.subject import Subject
from backlight.objectives.prompts import Prompt
from backlight.objectives.spans import PromptTokens
from backlight.surveys.driver.material.opening import Corpus, Opening
from backlight.surveys.driver.measurement import Measurement
from backlight.surveys.driver.paths import plan_paths
from backlight.surveys.driver.shards.sharding import Sharding
from backlight.surveys.driver.steps import Step
from backlight.surveys.driver.words.sentences import count, name, number, share
from backlight.surveys.tokens.measure.checkpoints import load_answering
from backlight.surveys.tokens.measure.joining import halves, join_rows
from backlight.surveys.tokens.measure.places import choose_positions, choose_sites
from backlight.surveys.tokens.measure.prompts import (
    draw_prompts,
    largest_batch,
    locate_prompts,
    prompt_set,
)
from backlight.surveys.tokens.measure.survey import (
    MEASURES,
    PromptSet,
    TokenSurvey,
    survey_tokens,
)
from backlight.surveys.tokens.names import prompt_columns
from backlight.surveys.tokens.options import TokensConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class TokensPlan:
    """Which prompts are measured, and where.

    Attributes:
        prompts: The prompts, and the positions that they share.
        sites: The sites that are measured.
        targets: The positions at which whole vectors are kept.
    """

    prompts: PromptSet
    sites: Sequence[Site]
    targets: Sequence[int]


TokensMeasurement = Measurement[TokenSurvey, TokensPlan]


def prepare(options: TokensConfig, opening: Opening) -> TokensMeasurement:
    """Draw the prompts, open the model, and find the sites and positions.

    Args:
        options: What is asked.
        opening: It opens the model.

    Returns:
        The survey, ready to run.

    Raises:
        ConfigError: If positions were only to be listed, or no prompt has the value to colour by.
    """
    if options.list_positions:
        raise ConfigError(
            "list_positions prints a list on the command line; in Python, positions are a column "
            "of tables['positions']."
        )
    prompts, subject = open_prompts(options, opening)
    passages = prompts.passages
    grid, targets = choose_positions(prompts.grid, options.target_positions)
    prompts = replace(prompts, grid=grid)
    sites = choose_sites(subject, options.sites, options.target_layers)
    opening.clock.lap("prompt_preparation")
    batch_size = opening.batch_size(subject, passages, sites)
    batches = bucket(passages, batch_size=batch_size, seed=options.seed)
    corpus = Corpus(subject=subject, passages=passages, batches=batches)
    layers, flag = options.target_layers, "--target_layers"
    paths = plan_paths(options.path, corpus, sites, layers=layers, flag=flag)
    fresh = partial(TokenSurvey, len(prompts.prompts))
    state = fresh()

    def steps(batches: Sequence[Sequence[int]], state: TokenSurvey) -> Iterator[Step]:
        return survey_tokens(
            subject, prompts, batches, state, sites=sites, targets=targets, paths=paths
        )

    opening.clock.lap("prompt_preparation")
    return TokensMeasurement(
        corpus=corpus,
        run_name=f"tokens_{options.task_type or 'template'}_num_samples_{len(prompts.prompts)}",
        title=f"{options.objective} of {len(prompts.prompts)} answers at {options.sites}, "
        f"{count(len(sites), 'site')}",
        state=state,
        plan=TokensPlan(prompts=prompts, sites=sites, targets=targets),
        found=partial(_found, state, prompts, sites),
        text=f"prompts of {options.task_type or 'a template'}",
        halves=partial(halves, num_prompts=len(prompts.prompts)),
        masks="right-padded; pads count nowhere; the loss is that of the answer's tokens alone",
        sharding=Sharding.of(
            passages,
            batches,
            fresh=fresh,
            steps=steps,
            seen=lambda state: state.num_batches,
            joined=join_rows,
        ),
    )


def open_prompts(options: TokensConfig, opening: Opening) -> tuple[PromptSet, Subject]:
    """Draw the prompts, open the model, and find where their tokens stand.

    Args:
        options: What is asked.
        opening: It opens the model.

    Returns:
        The prompts, and the model that is to answer them.

    Raises:
        ConfigError: If no prompt has the value to colour by.
    """
    drawn = draw_prompts(options)
    _refuse_unknown_colour(options, drawn)
    opening.clock.lap("prompt_preparation")
    located: list[PromptTokens] = []

    def largest(tokenizer: object) -> tuple[int, int]:  # with --memory, before there is a model
        located.extend(locate_prompts(drawn, tokenizer))
        return largest_batch(options, located)

    subject = opening.subject(load_answering, largest=largest)
    located = located or locate_prompts(drawn, subject.tokenizer)
    return prompt_set(options, drawn, located, subject), subject


def _found(state: TokenSurvey, prompts: PromptSet, sites: Sequence[Site]) -> str:
    """Name the position of the largest gradient so far, and how good the answers are."""
    seen = ~np.isnan(state.nats)
    norms = np.stack([state.measured[f"{site.name}/{MEASURES[0]}"][seen, 0] for site in sites])
    there = ~np.isnan(norms)
    means = np.where(there, norms, 0).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    site, column = (int(index) for index in np.unravel_index(means.argmax(), means.shape))
    position = name(prompts.grid.positions[column].name)
    right = share(float(state.right[seen].mean()))
    return (
        f"largest so far: {position} at {sites[site].name}, gradient norm "
        f"{number(means[site, column])}; {right} of the answers right"
    )


def _refuse_unknown_colour(options: TokensConfig, prompts: Sequence[Prompt]) -> None:
    known = prompt_columns(prompts)
    if options.color_by is not None and options.color_by not in known:
        hint = nearest(options.color_by, known, otherwise=f"They have {', '.join(known)}.")
        raise ConfigError(
            f"The prompts have no value {quoted(options.color_by)} to colour by. {hint}"
        )
