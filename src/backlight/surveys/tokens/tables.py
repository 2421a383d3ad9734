"""Tables of a survey of prompts: by site and position, by prompt, and of the vectors' shapes.

And the arrays that the tables are made from, by name.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.errors import shorten
from backlight.foreign.text import plain
from backlight.models.sites import layer_of
from backlight.objectives.answers import Goal
from backlight.surveys.driver.paths import completeness_tables
from backlight.surveys.driver.results.findings import Findings
from backlight.surveys.tokens.files import describe
from backlight.surveys.tokens.measure import TokensMeasurement, TokensPlan
from backlight.surveys.tokens.measure.geometry import Geometry, correlation, geometry
from backlight.surveys.tokens.measure.survey import (
    COMPLETENESS,
    MEASURES,
    PromptSet,
    TokenSurvey,
    reachable,
)
from backlight.surveys.tokens.names import OF_EVERY_PROMPT, value_columns
from backlight.surveys.tokens.options import TokensConfig
from backlight.tables import Column, Table

_MOST_COSINES = 200
_LONGEST = 40  # letters of what stands at a position
_SHAPE = ("components_90", "components_95", "effective_rank", "mean_cosine")


def objective_unit(goal: Goal) -> str:
    """Name the unit of what is differentiated."""
    return "nats" if goal == "loss" else "logits"


def position_table(
    state: TokenSurvey, material: PromptSet, reachable: Mapping[str, NDArray[np.bool_]]
) -> Table:
    """Tabulate each measure at each site and position: its mean over prompts and standard error.

    ``head`` is empty for a site's whole vector. ``num_prompts`` have the position; in
    ``num_reaching`` of these it can reach the objective at all: where that is 0, the gradient is
    zero by causality. Standard errors are those of a mean over independent prompts, blank for one.

    Args:
        state: What was measured.
        material: The prompts.
        reachable: By site, ``[prompts, positions]``.

    Returns:
        The table: one row for each site, head and position.
    """
    rows = list(_position_rows(state, material, reachable))
    unit = objective_unit(material.objective.goal)
    units = {"gradient_norm": f"{unit}/unit", "activation_norm": "units", "grad_x_act": unit}
    return Table(
        name="positions",
        columns={name: np.array([row[name] for row in rows]) for name in rows[0]},
        units={**units, **{f"{name}_se": unit for name, unit in units.items()}},
    )


def _position_rows(
    state: TokenSurvey, material: PromptSet, reachable: Mapping[str, NDArray[np.bool_]]
) -> Iterator[dict[str, Any]]:
    there = material.grid.counts > 0
    for site, reach in reachable.items():
        statistics = {
            measure: _mean_and_error(state.measured[f"{site}/{measure}"], there)
            for measure in MEASURES
        }
        heads = len(state.measured[f"{site}/{MEASURES[0]}"][0])
        for row, (column, position) in product(range(heads), enumerate(material.grid.positions)):
            layer = layer_of(site)
            yield {
                "site": site,
                "layer": np.nan if layer is None else layer,
                "head": np.nan if row == 0 else row - 1,
                "column": column,
                "position": position.name,
                "token": _plain(position.label),
                "num_prompts": int(there[:, column].sum()),
                "num_reaching": int(reach[:, column].sum()),
                **{name: mean[row, column] for name, (mean, _) in statistics.items()},
                **{f"{name}_se": error[row, column] for name, (_, error) in statistics.items()},
            }


def _mean_and_error(
    values: NDArray[np.float64], there: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Average over the prompts that have a position; the error is blank if only one has it."""
    counts = there.sum(axis=0)
    known = np.where(there[:, None], values, 0.0)
    mean = known.sum(axis=0) / counts
    squares = np.where(there[:, None], np.square(values - mean), 0.0).sum(axis=0)
    freedom = np.where(counts > 1, counts - 1, np.nan)
    return mean, np.sqrt(squares / freedom / counts)


def prompt_table(state: TokenSurvey, material: PromptSet) -> Table:
    """Tabulate the prompts: text, answer, objective, loss, whether the model is right, values.

    ``loss`` is the mean cross-entropy of the answer's tokens that count; ``right`` is 1 if greedy
    decoding gives these tokens.

    Args:
        state: What was measured.
        material: The prompts.

    Returns:
        The table: one row for each prompt.
    """
    goal, prompts = material.objective.goal, material.prompts
    columns: dict[str, Column] = {
        "prompt": np.arange(len(prompts)),
        "text": np.array([_plain(prompt.text) for prompt in prompts]),
        "answer": np.array([_plain(prompt.answer) for prompt in prompts]),
        "objective": state.value,
        "loss": _losses(state, material),
        "right": state.right.astype(np.int64),
        "num_tokens": np.array([len(tokens.ids) for tokens in material.located]),
    }
    assert tuple(columns) == OF_EVERY_PROMPT
    for key, name in value_columns(prompts).items():
        columns[key] = _values([prompt.values.get(name) for prompt in prompts])
    units = {"objective": objective_unit(goal), "loss": "nats/token"}
    return Table(name="prompts", columns=columns, units=units)


def geometry_table(
    state: TokenSurvey,
    found: Mapping[tuple[str, int], Geometry | None],
    material: PromptSet,
) -> Table:
    """Tabulate the shape of the gradient vectors at each site and position.

    ``norm`` and ``norm_std`` are mean and standard deviation of the gradient's norm over prompts;
    ``r_answer`` and ``r_loss`` its correlation (Pearson) with a numeric answer and with the loss.
    The rest is described in ``Geometry``; it is blank where all vectors are equal.

    Args:
        state: What was measured.
        found: The shapes, by site and column.
        material: The prompts.

    Returns:
        The table.
    """
    answers = _numbers([prompt.values.get("answer") for prompt in material.prompts])
    losses = _losses(state, material)
    rows: list[dict[str, Any]] = []
    for (site, column), shape in found.items():
        position = material.grid.positions[column].name
        vectors = state.vectors[f"{site}/{position}/gradients"].astype(np.float64)
        norms = np.linalg.norm(vectors, axis=1)
        known = norms[np.isfinite(norms)]
        layer = layer_of(site)
        rows.append(
            {
                "site": site,
                "layer": np.nan if layer is None else layer,
                "position": position,
                "num_prompts": len(known),
                "norm": known.mean(),
                "norm_std": known.std(ddof=1) if len(known) > 1 else np.nan,
                "pc1": np.nan if shape is None else shape.explained[0],
                "pc2": np.nan if shape is None or len(shape.explained) < 2 else shape.explained[1],
                **{name: np.nan if shape is None else getattr(shape, name) for name in _SHAPE},
                "r_answer": correlation(norms, answers),
                "r_loss": correlation(norms, losses),
            }
        )
    unit = f"{objective_unit(material.objective.goal)}/unit"
    return Table(
        name="geometry",
        columns={name: np.array([row[name] for row in rows]) for name in rows[0]},
        units={"norm": unit, "norm_std": unit, "effective_rank": "dimensions"},
    )


def _losses(state: TokenSurvey, material: PromptSet) -> NDArray[np.float64]:
    """Average the loss of each prompt over the tokens of its answer that count."""
    return state.nats / (material.objective.stops - material.objective.starts)


def _plain(text: str) -> str:
    """Write a text for a cell: carriage returns cannot stand in one."""
    return text.replace("\r", " ")


def _values(values: Sequence[float | str | None]) -> Column:
    if any(isinstance(value, str) for value in values):
        return np.array(["" if value is None else _plain(str(value)) for value in values])
    return _numbers(values)


def _numbers(values: Sequence[float | str | None]) -> NDArray[np.float64]:
    return np.array(
        [float(value) if isinstance(value, (int, float)) else np.nan for value in values]
    )


def arrays_of(
    state: TokenSurvey,
    material: PromptSet,
    reach: Mapping[str, NDArray[np.bool_]],
    shapes: Mapping[tuple[str, int], Geometry | None],
) -> dict[str, NDArray[Any]]:
    """Collect all arrays of a run by name.

    Args:
        state: What was measured.
        material: The prompts.
        reach: By site, which positions of which prompts reach the objective.
        shapes: By site and column, the shape of the gradient vectors.

    Returns:
        ``{site}/{measure}`` and ``{site}/reachable``; for each target ``{site}/{position}/`` with
        ``gradients``, ``activations``, ``prompts`` (which prompts have the position) and, where
        vectors differ, ``scores``, ``loadings``, ``mean``, ``scale``, ``explained`` (see
        ``Geometry``) and ``cosines`` between the first 200 of them.
    """
    arrays: dict[str, NDArray[Any]] = {**state.measured}
    arrays |= {f"{site}/reachable": found for site, found in reach.items()}
    for (site, column), shape in shapes.items():
        position = material.grid.positions[column].name
        there = np.flatnonzero(material.grid.counts[:, column] > 0)
        arrays |= {
            f"{site}/{position}/{name}": array
            for name, array in _of_target(state, f"{site}/{position}", there, shape)
        }
    return arrays


def _of_target(
    state: TokenSurvey, target: str, there: NDArray[np.int64], shape: Geometry | None
) -> Iterator[tuple[str, NDArray[Any]]]:
    gradients = state.vectors[f"{target}/gradients"][there]
    yield "prompts", there
    yield "gradients", gradients
    yield "activations", state.vectors[f"{target}/activations"][there]
    if shape is None:
        return
    for name in ("scores", "loadings", "mean", "scale", "explained"):
        yield name, getattr(shape, name)
    yield "cosines", _cosines(gradients[:_MOST_COSINES].astype(np.float64))


def _cosines(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = vectors / np.where(norms > 0, norms, np.nan)
    return (units @ units.T).astype(np.float32)


def tokens_of(material: PromptSet, decode: Callable[[list[int]], str]) -> Column:
    """Write what stands at each position of each prompt.

    Args:
        material: The prompts.
        decode: From token ids to text.

    Returns:
        ``[prompts, positions]``: the token, or the text of all tokens there, of a long one the
        ends; empty where a prompt has no such position.
    """
    grid = material.grid
    rows = zip(material.located, grid.starts.tolist(), grid.stops.tolist(), strict=True)
    return np.array(
        [
            [
                shorten(plain(decode(tokens.ids[start:stop].tolist())), _LONGEST)
                if stop > start
                else ""
                for start, stop in zip(starts, stops, strict=True)
            ]
            for tokens, starts, stops in rows
        ]
    )


def findings(options: TokensConfig, measurement: TokensMeasurement) -> Findings:
    """Turn what was measured into tables and arrays.

    Args:
        options: What was asked.
        measurement: What was measured.

    Returns:
        The tables ``positions``, ``prompts`` and ``geometry``, of paths also ``completeness``, and
        the arrays of ``arrays_of``; whole vectors are in files of their own.
    """
    state, plan, corpus = measurement.state, measurement.plan, measurement.corpus
    reach = {site.name: reachable(corpus.subject, plan.prompts, site) for site in plan.sites}
    shapes = _shapes(options, plan, state, reach)
    data = {
        "tokens": tokens_of(plan.prompts, corpus.subject.tokenizer.decode),
        **arrays_of(state, plan.prompts, reach, shapes),
    }
    positions = position_table(state, plan.prompts, reach)
    prompts = prompt_table(state, plan.prompts)
    shape_table = geometry_table(state, shapes, plan.prompts)
    paths = {
        site.name: state.measured[f"{site.name}/{COMPLETENESS}"]
        for site in (plan.sites if options.path is not None else ())
    }
    unit = objective_unit(options.objective)
    added_up = completeness_tables(paths, weight=prompts.num_rows, unit=unit)
    return describe(
        options,
        tables=(positions, prompts, shape_table, *added_up),
        data=data,
        metadata={
            "num_prompts": len(plan.prompts.prompts),
            "num_tokens": corpus.passages.num_tokens,
            "loss_nats_per_token": float(np.mean(prompts["loss"])),
            "share_right": float(np.mean(state.right)),
            "checkpoint_path": corpus.subject.name,
            **corpus.subject.note,
        },
    )


def _shapes(
    options: TokensConfig,
    plan: TokensPlan,
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
            geometry(own, standardize=options.pca == "standardized")
            if reach[site.name][:, column].any()
            else None
        )
    return shapes
