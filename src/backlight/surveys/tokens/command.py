"""The command itself: prompts, one pass for each batch, tables and arrays."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.data.batches import bucket
from backlight.errors import ConfigError, nearest, quoted
from backlight.models.sites import Site
from backlight.models.subject import Subject
from backlight.objectives.prompts import Prompt
from backlight.runs.directory import RunDirectory
from backlight.runs.results import Results, load_results
from backlight.surveys.driver.model import settle
from backlight.surveys.driver.reading import same_numbers
from backlight.surveys.driver.resolving import resolve
from backlight.surveys.driver.session import Clock, find_run, print_places
from backlight.surveys.driver.survey import Material, begin, measure
from backlight.surveys.tokens.checkpoints import load_answering
from backlight.surveys.tokens.files import write_tokens
from backlight.surveys.tokens.measure.geometry import Geometry, geometry
from backlight.surveys.tokens.measure.places import choose_positions, choose_sites
from backlight.surveys.tokens.measure.survey import PromptSet, TokenSurvey, reachable, survey_tokens
from backlight.surveys.tokens.options import TokensConfig
from backlight.surveys.tokens.printed import print_positions, print_tokens
from backlight.surveys.tokens.prompts import draw_prompts, prepare
from backlight.surveys.tokens.tables import (
    arrays_of,
    geometry_table,
    position_table,
    prompt_columns,
    prompt_table,
)

_COMMAND = "tokens"
_MASKS = "right-padded; pads count nowhere; the loss is that of the answer's tokens alone"


def tokens(
    config: str | Path | None = None, *, subject: Subject | None = None, **options: Any
) -> Results:
    """Measure where the gradient of an answer sits: at which token, in which layer.

    The same as ``backlight tokens``, without printing. One forward and one backward pass for each
    batch of prompts; each prompt counts alike, and its gradient does not depend on the others.

    Args:
        config: YAML file of options; keywords win over it.
        subject: A model that is already loaded; else the one that the options name.
        **options: Options of ``TokensConfig``, such as ``task_type="distance"`` or
            ``template="The capital of {country} is"``.

    Returns:
        The tables ``positions``, ``prompts`` and ``geometry``; as arrays, by site,
        ``{site}/gradient_norm``, ``/activation_norm`` and ``/grad_x_act`` (``[prompts, 1 + heads,
        positions]``) and ``/reachable`` (``[prompts, positions]``), and for each target position
        ``{site}/{position}/scores``, ``/explained`` and ``/cosines``, and, unless a finished run
        was read back, ``/gradients`` and ``/activations`` (``[prompts, width]``), which are also
        the files of ``gradients/``. Its ``path`` is the run directory, None if nothing was written.

    Raises:
        ConfigError: If an option does not exist or does not fit, or is one for loading a model
            although there is a subject.
    """
    resolved = resolve(TokensConfig, config, options)
    if resolved.list_positions:
        raise ConfigError(
            "list_positions prints a list on the command line; in Python, positions are a column "
            "of tables['positions']."
        )
    settled, given = settle(resolved, subject)
    return _survey(settled, load_answering if subject is None else given)


def run(config: TokensConfig) -> None:
    """Carry out ``backlight tokens`` and print what was found and where it went.

    Args:
        config: Its options.
    """
    if config.list_positions:
        subject = load_answering(config)
        print_positions(prepare(config, draw_prompts(config), subject))
        return
    results = _survey(config, load_answering)
    print_tokens(config, results)
    if results.path is not None:
        print_places(RunDirectory(results.path), _COMMAND)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What is measured: prompts, and where."""

    material: Material
    prompts: PromptSet
    sites: Sequence[Site]
    targets: Sequence[int]


def _survey(config: TokensConfig, load: Callable[[TokensConfig], Subject]) -> Results:
    clock = Clock()
    found = find_run(config, _COMMAND)
    if found is not None and found.is_finished:
        return load_results(found.path)
    plan = _gather(config, load, clock)
    name = f"tokens_{config.task_type or 'template'}_num_samples_{len(plan.prompts.prompts)}"
    directory = begin(config, _COMMAND, name, plan.material, found, masks=_MASKS)
    state = _measure(config, plan, directory)
    clock.lap("gradient_computation")
    results = _results(config, plan, state, directory)
    clock.lap("geometry")
    if directory is not None:
        write_tokens(directory, config, results, clock)
    return results


def _gather(config: TokensConfig, load: Callable[[TokensConfig], Subject], clock: Clock) -> _Plan:
    drawn = draw_prompts(config)
    _refuse_unknown_colour(config, drawn)
    clock.lap("prompt_preparation")
    subject = load(config)
    clock.lap("model_loading")
    prompts = prepare(config, drawn, subject)
    batches = bucket(prompts.passages, batch_size=config.batch_size, seed=config.seed)
    grid, targets = choose_positions(prompts.grid, config.target_positions)
    prompts = replace(prompts, grid=grid)
    plan = _Plan(
        material=Material(subject=subject, passages=prompts.passages, batches=batches),
        prompts=prompts,
        sites=choose_sites(subject, config.sites, config.target_layers),
        targets=targets,
    )
    clock.lap("prompt_preparation")
    return plan


def _refuse_unknown_colour(config: TokensConfig, prompts: Sequence[Prompt]) -> None:
    known = prompt_columns(prompts)
    if config.color_by is not None and config.color_by not in known:
        hint = nearest(config.color_by, known, otherwise=f"They have {', '.join(known)}.")
        raise ConfigError(
            f"The prompts have no value {quoted(config.color_by)} to colour by. {hint}"
        )


def _measure(config: TokensConfig, plan: _Plan, directory: RunDirectory | None) -> TokenSurvey:
    material, state = plan.material, TokenSurvey(len(plan.prompts.prompts))
    survey = partial(
        survey_tokens,
        material.subject,
        plan.prompts,
        material.batches,
        state,
        sites=plan.sites,
        targets=plan.targets,
    )
    title = f"{config.objective} of {len(plan.prompts.prompts)} answers"
    measure(material, state, survey, directory, title=title)
    return state


def _results(
    config: TokensConfig, plan: _Plan, state: TokenSurvey, directory: RunDirectory | None
) -> Results:
    subject, prompts = plan.material.subject, plan.prompts
    reach = {site.name: reachable(subject, prompts, site) for site in plan.sites}
    shapes = _shapes(config, plan, state, reach)
    tables = (
        position_table(state, prompts, reach),
        prompt_table(state, prompts),
        geometry_table(state, shapes, prompts),
    )
    return Results(
        path=None if directory is None else directory.path,
        data=arrays_of(state, prompts, reach, shapes),
        metadata={
            "num_prompts": len(prompts.prompts),
            "num_tokens": plan.material.passages.num_tokens,
            "loss_nats_per_token": float(np.mean(tables[1]["loss"])),
            "share_right": float(np.mean(state.right)),
            "checkpoint_path": subject.name,
            **subject.note,
        },
        tables={table.name: table for table in tables},
        config=same_numbers(config) if directory is None else directory.config(),
    )


def _shapes(
    config: TokensConfig,
    plan: _Plan,
    state: TokenSurvey,
    reach: Mapping[str, NDArray[np.bool_]],
) -> dict[tuple[str, int], Geometry | None]:
    """Find the shape of the vectors at each site and target; None where they are zero or alike."""
    shapes: dict[tuple[str, int], Geometry | None] = {}
    for site, column in product(plan.sites, plan.targets):
        name = plan.prompts.grid.positions[column].name
        vectors = state.vectors[f"{site.name}/{name}/gradients"]
        own = vectors[plan.prompts.grid.counts[:, column] > 0]
        shapes[site.name, column] = (
            geometry(own, standardize=config.pca == "standardized")
            if reach[site.name][:, column].any()
            else None
        )
    return shapes
