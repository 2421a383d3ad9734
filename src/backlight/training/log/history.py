"""What is known of a training run: the gradients of its parameters over its steps.

Nothing here needs torch, so that a run can be judged on any machine.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

STATISTICS = (
    "mean",
    "std",
    "max_abs",
    "norm",
    "near_zero",
    "zero",
    "num_nan",
    "num_inf",
    "smallest",
    "weight_norm",
    "update_ratio",
)
"""What is recorded of each parameter: of its raw gradient, and in the end of its weights."""

_Numbers = NDArray[np.float64]
_Steps = NDArray[np.int64]
_Flags = NDArray[np.bool_]


_no_steps = partial(np.zeros, 0, dtype=np.int64)
_no_numbers = partial(np.zeros, 0, dtype=np.float64)
_no_table = partial(np.zeros, (0, 0), dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterInfo:
    """What a log says of one parameter.

    Attributes:
        name: Its path in the model; for a tied parameter, the first of its paths.
        module: The path of the module that holds it; empty for the model itself.
        kind: The class of that module, empty if unknown.
        shape: Its shape; empty for a scalar, and if unknown.
        numel: How many numbers it has; 0 if unknown.
        layer: The number of the block it lies in, None outside of the blocks.
        depth: When its module was first used in a forward pass, counted from 0 at the input.
        trainable: It takes part in training; where that changes, as it was in the end.
        elsewhere: An optimizer that is not watched changes it, and none of those that are.
        since: The step from which on the model has it; 0 for the beginning.
        until: The step from which on the model does not have it any more; 0 if it has.
    """

    name: str
    module: str
    kind: str = ""
    shape: tuple[int, ...] = ()
    numel: int = 0
    layer: int | None = None
    depth: int = 0
    trainable: bool = True
    elsewhere: bool = False
    since: int = 0
    until: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened at one step.

    Attributes:
        step: The optimizer step.
        what: ``non_finite``, ``skipped`` (the gradient scaler left the step out), or ``unwatched``
            (the watch failed and has ended; the training has gone on).
        where: ``weight``, ``forward``, ``backward`` or ``unknown``.
        module: The path of the module where it began, None if unknown.
        parameter: The parameter where it began, None if unknown.
        snapshot: A file of the run directory that reproduces it, None if there is none.
        text: One plain sentence.
    """

    step: int
    what: str
    where: str = "unknown"
    module: str | None = None
    parameter: str | None = None
    snapshot: str | None = None
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupNorms:
    """The norm of the gradient of groups of parameters.

    Attributes:
        names: The groups, in the order in which they were first named.
        norms: ``[steps, groups]``, the root of the sum of the squares of the parameters that had a
            gradient; NaN where none had one, or where one was NaN.
        present: ``[steps, groups]``, some parameter had a gradient.
    """

    names: tuple[str, ...]
    norms: NDArray[np.float64]
    present: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A training run, as far as it was recorded; T recorded steps, P parameters, L losses.

    >>> import numpy as np
    >>> from backlight import History
    >>> history = History(
    ...     steps=np.array([1, 2]),
    ...     present=np.zeros((2, 0), dtype=bool),
    ...     global_norm=np.array([0.5, 3.0]),
    ...     clipped_norm=np.array([0.5, 1.0]),
    ... )
    >>> history.clip_rate()
    0.5

    Attributes:
        parameters: What is known of each parameter, in the order of the columns below.
        steps: ``[T]``, the recorded optimizer steps, counted from 1, rising.
        statistics: ``[T, P]`` for each of ``STATISTICS``, NaN where a parameter had no gradient or
            the number is NaN; a plain log of norms has only ``norm``.
        present: ``[T, P]``, the parameter had a gradient at this step.
        global_norm: ``[T]``, the norm of the raw gradient of all parameters.
        clipped_norm: ``[T]``, the same as the optimizer got it; NaN if unknown, and where the step
            was skipped.
        learning_rates: ``[T, groups of the optimizer]``.
        scale: ``[T]``, the factor of the gradient scaler; NaN without one.
        loss_steps: ``[L]``, the steps whose loss is known: all, not only the recorded ones.
        losses: ``[L]``, in the unit of the user's loss, averaged over micro-batches.
        of_rewards: The log tells rewards too, so the loss is a policy's, and measures no error.
        events: What happened, by step.
        rank_norms: ``[T, ranks]``, the norm on each rank before the reduction; no columns if there
            is one process only, or it is unknown.
        activation_layers: The blocks whose outputs were watched.
        activation_steps: ``[A]``, at which steps.
        activation_norms: ``[A, blocks]``, the norm of the gradient at their outputs.
        source: Where it was read from; empty for memory.
        understood: What was understood of a log that another tool wrote, and what was left out, in
            a few sentences; empty for our own.
    """

    parameters: tuple[ParameterInfo, ...] = ()
    steps: _Steps = field(default_factory=_no_steps)
    statistics: Mapping[str, _Numbers] = field(default_factory=dict[str, _Numbers])
    present: _Flags
    global_norm: _Numbers
    clipped_norm: _Numbers
    learning_rates: _Numbers = field(default_factory=_no_table)
    scale: _Numbers = field(default_factory=_no_numbers)
    loss_steps: _Steps = field(default_factory=_no_steps)
    losses: _Numbers = field(default_factory=_no_numbers)
    of_rewards: bool = False
    events: tuple[Event, ...] = ()
    rank_norms: _Numbers = field(default_factory=_no_table)
    activation_layers: tuple[str, ...] = ()
    activation_steps: _Steps = field(default_factory=_no_steps)
    activation_norms: _Numbers = field(default_factory=_no_table)
    source: str = ""
    understood: str = ""

    def module_norms(self) -> GroupNorms:
        """Sum the squares of the parameters of each module.

        Returns:
            The norms, by the modules' paths, from the input to the loss.
        """
        return self.norms_by(lambda info: info.module)

    def layer_norms(self) -> GroupNorms:
        """Sum the squares of the parameters of each block; those outside of blocks are left out.

        Returns:
            The norms, by the blocks' paths (``transformer.h.3``); no groups if the model has no
            numbered blocks.
        """
        return self.norms_by(block_of)

    def norms_by(self, key: Callable[[ParameterInfo], str | None]) -> GroupNorms:
        """Sum the squares of the parameters of each group.

        Args:
            key: Names the group of a parameter; None for one that is left out.

        Returns:
            The norms, by the names of the groups, from the input to the loss.
        """
        order = sorted(range(len(self.parameters)), key=lambda p: self.parameters[p].depth)
        norms = self.statistics.get("norm", np.full(self.present.shape, np.nan))
        keys = [key(self.parameters[place]) for place in order]
        return group_norms(keys, norms[:, order], self.present[:, order])

    def clip_rate(self, *, tolerance: float = 1e-3) -> float:
        """Compute the share of the recorded steps at which the gradient was clipped.

        Args:
            tolerance: By which share of itself the norm must shrink to count.

        Returns:
            The share of the steps with two finite norms; NaN if there is none.
        """
        known = np.isfinite(self.global_norm) & np.isfinite(self.clipped_norm)
        clipped = self.clipped_norm[known] < (1 - tolerance) * self.global_norm[known]
        return float(clipped.mean()) if known.any() else float("nan")


def block_of(info: ParameterInfo) -> str | None:
    """Return the path of the block that a parameter lies in, None if it lies in none."""
    if info.layer is None:
        return None
    parts = info.module.split(".")
    number = str(info.layer)
    return ".".join(parts[: parts.index(number) + 1]) if number in parts else info.module


def group_norms(
    keys: Sequence[str | None], norms: NDArray[np.float64], present: NDArray[np.bool_]
) -> GroupNorms:
    """Sum the squares of the parameters of each group.

    Args:
        keys: The group of each parameter, None for one that is left out.
        norms: ``[steps, parameters]``.
        present: ``[steps, parameters]``, the parameter had a gradient.

    Returns:
        The norms of the groups.
    """
    members: dict[str, list[int]] = {}
    for column, key in enumerate(keys):
        if key is not None:
            members.setdefault(key, []).append(column)
    totals = np.full((len(norms), len(members)), np.nan)
    some = np.zeros(totals.shape, dtype=np.bool_)
    for place, columns in enumerate(members.values()):
        seen = np.where(present[:, columns], norms[:, columns], 0.0)
        total = np.hypot.reduce(seen, axis=1)  # it does not overflow where squares would
        total[np.isnan(seen).any(axis=1)] = np.nan  # hypot(inf, nan) is inf
        some[:, place] = present[:, columns].any(axis=1)
        totals[:, place] = np.where(some[:, place], total, np.nan)
    return GroupNorms(names=tuple(members), norms=totals, present=some)


def aligned(steps: _Steps, values: _Numbers, wanted: _Steps) -> _Numbers:
    """Return the values at some steps; NaN where there is none.

    Args:
        steps: ``[N]``, rising.
        values: ``[N]``.
        wanted: ``[T]``, the steps in question.

    Returns:
        ``[T]``.
    """
    if not len(steps):
        return np.full(len(wanted), np.nan)
    places = np.minimum(np.searchsorted(steps, wanted), len(steps) - 1)
    return np.where(steps[places] == wanted, values[places], np.nan)
