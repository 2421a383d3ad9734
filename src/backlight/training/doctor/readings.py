"""A history made ready for judging: matrices, their siblings in other blocks, and logarithms."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from backlight.training.doctor.course import Course
from backlight.training.doctor.findings import Place
from backlight.training.doctor.robust import first_stretch, middle, slope
from backlight.training.log.history import History, ParameterInfo, aligned

_DIGITS = re.compile(r"\d+")
_EXPERT = re.compile(r"(^|[._])experts?[._]\d+[._]", re.IGNORECASE)
_NEIGHBOURS = 2  # siblings on each side that a parameter is compared with
_GROWN = 0.3  # share of itself by which a weight moves in a step, once it is one
_ENDS, _DOWN = 5, 0.1  # losses at the start and the end, and how far they have come down
LEAST = 3  # members of a family, below which there is no comparing

_Key = TypeVar("_Key")


@dataclass(frozen=True, kw_only=True)
class Readings:
    """What symptoms are read from.

    Matrices are parameters of two axes or more outside of embeddings. The norms of vectors (biases,
    gains) vary for many reasons, so they are not compared with each other. Siblings are the
    parameters of one name and one shape in different blocks; in a model without blocks, those whose
    names differ in numbers only, and in a plain log whose names have nothing in common, all.
    Experts get what a router gives them, so the gradients of one and another say nothing of each
    other: they are no siblings.

    Attributes:
        history: What was recorded.
    """

    history: History

    @property
    def steps(self) -> NDArray[np.int64]:
        """The recorded steps."""
        return self.history.steps

    @cached_property
    def matrices(self) -> tuple[int, ...]:
        """The columns of matrices; all columns where shapes are unknown."""
        known = self.history.parameters
        found = [
            column
            for column, info in enumerate(known)
            if len(info.shape) >= 2 and "Embedding" not in info.kind
        ]
        return tuple(found) if any(info.numel for info in known) else tuple(range(len(known)))

    @cached_property
    def name_families(self) -> tuple[tuple[int, ...], ...]:
        """The columns of siblings of any kind, each family from the input to the loss."""
        infos = self.history.parameters
        columns = sorted(range(len(infos)), key=lambda column: infos[column].depth)
        groups = grouped(columns, lambda column: _template(infos[column]))
        return tuple(map(tuple, groups.values()))

    @cached_property
    def chains(self) -> tuple[tuple[int, ...], ...]:
        """The columns of siblings among matrices of any shape, each from the input to the loss."""
        infos = self.history.parameters
        matrices = {each for each in self.matrices if not _EXPERT.search(infos[each].name)}
        all_families = [[each for each in one if each in matrices] for one in self.name_families]
        found = [tuple(columns) for columns in all_families if len(columns) >= LEAST]
        if not found and not any(info.numel for info in infos) and len(infos) >= LEAST:
            return (tuple(range(len(infos))),)
        return tuple(found)

    @cached_property
    def families(self) -> tuple[tuple[int, ...], ...]:
        """The columns of siblings of one shape, each family from the input to the loss."""
        infos, found = self.history.parameters, list[tuple[int, ...]]()
        for chain in self.chains:
            shapes = grouped(chain, lambda column: infos[column].shape)
            found += [tuple(columns) for columns in shapes.values() if len(columns) >= LEAST]
        return tuple(found)

    @cached_property
    def vocabulary(self) -> int | None:
        """How many tokens there are, if it is a model of tokens; None if not, or unknown.

        The last matrix gives a number for each row of a table, or what a head that is tied to a
        table reads. Tables of something else (codes, classes, users) are no vocabulary.
        """
        infos = self.history.parameters
        matrices = [info for info in infos if len(info.shape) >= 2]
        tables = [info.shape for info in matrices if "Embedding" in info.kind]
        if not tables:
            return None
        last = max(matrices, key=lambda info: info.depth)
        is_table = "Embedding" in last.kind
        given = last.shape[-1 if is_table or last.kind == "Conv1D" else 0]
        sizes = [shape[0] for shape in tables if shape[0] == given]
        if not sizes and not is_table:
            sizes = [shape[0] for shape in tables if shape[-1] == given]
        size = max(sizes, default=0)
        return size if size >= 10 else None

    @cached_property
    def course(self) -> Course:
        """The losses that are known."""
        return Course(history=self.history, vocabulary=self.vocabulary)

    @cached_property
    def kin(self) -> tuple[tuple[int, ...], ...]:
        """The columns whose names differ in numbers only: of layers, and of experts."""
        infos = self.history.parameters
        groups = grouped(range(len(infos)), lambda column: _DIGITS.sub("*", infos[column].name))
        return tuple(tuple(columns) for columns in groups.values() if len(columns) > 1)

    def bias_of(self, column: int) -> int | None:
        """Return the column of the bias next to a matrix, None if it has none."""
        infos = self.history.parameters
        wanted = infos[column].name.removesuffix("weight") + "bias"
        return next((place for place, info in enumerate(infos) if info.name == wanted), None)

    def read(self, name: str) -> NDArray[np.float64]:
        """Return a statistic, ``[T, P]``; NaN if it was not recorded."""
        empty = np.full((len(self.steps), len(self.history.parameters)), np.nan)
        return self.history.statistics.get(name, empty)

    def has(self, name: str) -> bool:
        """Check whether some number of a statistic is known."""
        return bool(np.isfinite(self.read(name)).any())

    @cached_property
    def gradients(self) -> NDArray[np.float64]:
        """The logarithm of gradient norms; NaN where they are zero, absent or not finite."""
        return _log(self.read("norm"))

    @cached_property
    def weights(self) -> NDArray[np.float64]:
        """The logarithm of weight norms after the step."""
        return _log(self.read("weight_norm"))

    @cached_property
    def updates(self) -> NDArray[np.float64]:
        """The logarithm of update-to-weight ratios."""
        return _log(self.read("update_ratio"))

    @cached_property
    def update(self) -> NDArray[np.float64]:
        """The median update-to-weight ratio of matrices, ``[T]``; zeros count.

        The first step of weights that begin at zero (one half of a low-rank adapter, a branch) is
        all there is of them, so they count from when their steps are smaller than they are.
        """
        ratios = self.read("update_ratio")[:, list(self.matrices)].copy()
        for column in np.flatnonzero(np.isclose(ratios, 1.0, rtol=0, atol=1e-6).any(axis=0)):
            own = ratios[:, column]
            moved = np.flatnonzero(own > 0)
            if abs(own[moved[0]] - 1) <= 1e-6:
                grown = np.flatnonzero((own > 0) & (own < _GROWN))
                ratios[: grown[0] if len(grown) else None, column] = np.nan
        return middle(ratios, axis=1)

    @cached_property
    def losses(self) -> NDArray[np.float64]:
        """The loss of each recorded step, ``[T]``; NaN where it is not known."""
        return aligned(self.history.loss_steps, self.history.losses, self.steps)

    @cached_property
    def nothing_left(self) -> NDArray[np.bool_]:
        """Steps at which all is learned, ``[T]``: the loss has come down to zero (a margin).

        Then the gradient is zero too. A loss that drops to zero from one step to the next does not
        count.
        """
        none = (self.losses == 0) & (self.history.global_norm == 0)
        last = int(np.flatnonzero(none)[-1]) if none.any() else 0
        start = int(np.max(np.flatnonzero(~none[:last]), initial=-1)) + 1
        before = self.losses[:start]
        before = before[np.isfinite(before)]
        came_down = len(before) >= 2 * _ENDS and (
            middle(before[-_ENDS:]) < _DOWN * middle(before[:_ENDS])
        )
        return none if came_down else np.zeros_like(none)

    def gains(self, row: int) -> NDArray[np.float64]:
        """Return the root mean square of weights times the root of the fan-in, for matrices.

        A linear map with independent weights multiplies the size of a signal by about this.

        Args:
            row: Which of the recorded steps.

        Returns:
            One number for each matrix.
        """
        infos = [self.history.parameters[column] for column in self.matrices]
        sizes = np.array([max(1, info.numel) for info in infos])
        fan_ins = np.array(
            [i.numel / i.shape[0] if len(i.shape) >= 2 and i.shape[0] else np.nan for i in infos]
        )
        norms = self.read("weight_norm")[row, list(self.matrices)]
        return norms / np.sqrt(sizes) * np.sqrt(fan_ins)

    def against_siblings(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compare each matrix with its nearest siblings.

        Args:
            values: ``[T, P]``, logarithms.

        Returns:
            ``[T, P]`` differences from the median of the two siblings before and the two behind;
            NaN for what has no siblings.
        """
        result = np.full(values.shape, np.nan)
        for family in self.families:
            for place, column in enumerate(family):
                start = max(0, min(place - _NEIGHBOURS, len(family) - 2 * _NEIGHBOURS - 1))
                near = [each for each in family[start : start + 5] if each != column]
                result[:, column] = values[:, column] - middle(values[:, near], axis=1)
        return result

    def against_trend(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compare each matrix with the straight line over depth through its siblings.

        Args:
            values: ``[T, P]``, logarithms.

        Returns:
            ``[T, P]`` differences; NaN for what has no siblings.
        """
        result = np.full(values.shape, np.nan)
        for family in self.families:
            places, own = np.arange(len(family), dtype=np.float64), values[:, list(family)]
            level = own - slope(places, own)[:, None] * places
            result[:, list(family)] = level - middle(level, axis=1)[:, None]
        return result

    def blocks_where(self, holds: NDArray[np.bool_]) -> Iterator[tuple[list[int], int, int]]:
        """Find the blocks where something holds of some matrices for a stretch.

        Args:
            holds: ``[T, P]``.

        Yields:
            The matrices of a block of which it holds, the first row of any, and the last of any.
        """
        found = {p: stretch for p in self.matrices if (stretch := first_stretch(holds[:, p]))}
        for group in self.by_block(list(found)):
            yield group, min(found[p][0] for p in group), max(found[p][1] for p in group)

    def until(self, last: int) -> int | None:
        """Return the step at which something ended; None if it had not when the record ends."""
        return None if last == len(self.steps) - 1 else int(self.steps[last])

    def by_block(self, columns: Sequence[int]) -> list[list[int]]:
        """Group columns by block, and those outside of blocks by module."""
        infos = self.history.parameters

        def key(column: int) -> tuple[int, str]:
            layer = infos[column].layer
            return (-1, infos[column].module) if layer is None else (layer, "")

        return [list(group) for _, group in groupby(sorted(columns, key=key), key=key)]


def grouped(columns: Iterable[int], key: Callable[[int], _Key]) -> dict[_Key, list[int]]:
    """Group columns by a key, in the order in which the keys come."""
    groups: dict[_Key, list[int]] = {}
    for column in columns:
        groups.setdefault(key(column), []).append(column)
    return groups


def place_of(history: History, columns: Sequence[int]) -> Place:
    """Name the smallest module that holds some parameters.

    Args:
        history: Where they are from.
        columns: The parameters.

    Returns:
        Their place; the whole model if they have no module in common.
    """
    infos = [history.parameters[column] for column in columns]
    paths = [info.module.split(".") for info in infos]
    common: list[str] = []
    for parts in zip(*paths, strict=False):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    layers = {info.layer if info.numel else None for info in infos}
    depths = {info.depth for info in infos}
    return Place(
        module=".".join(common),
        parameter=infos[0].name if len(infos) == 1 else None,
        layer=next(iter(layers)) if len(layers) == 1 else None,
        depth=next(iter(depths)) if len(depths) == 1 else None,
    )


def _template(info: ParameterInfo) -> str:
    """Return a parameter's name without the number of its block."""
    if info.layer is None or not info.numel:  # a plain log only counts names
        return _DIGITS.sub("*", info.name)
    parts = info.name.split(".")
    number = str(info.layer)
    if number in parts:
        parts[parts.index(number)] = "*"
    return ".".join(parts)


def _log(values: NDArray[np.float64]) -> NDArray[np.float64]:
    usable = np.isfinite(values) & (values > 0)
    return np.log(np.where(usable, values, 1.0)) + np.where(usable, 0.0, np.nan)
