"""The arrays of a run: what was measured at each site, prompt by prompt."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.surveys.tokens.measure.geometry import Geometry
from backlight.surveys.tokens.measure.survey import PromptSet, TokenSurvey

_MOST_COSINES = 200

Arrays = dict[str, NDArray[Any]]


def arrays_of(
    state: TokenSurvey,
    material: PromptSet,
    reach: Mapping[str, NDArray[np.bool_]],
    shapes: Mapping[tuple[str, int], Geometry | None],
) -> Arrays:
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
    arrays: Arrays = {**state.measured}
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
