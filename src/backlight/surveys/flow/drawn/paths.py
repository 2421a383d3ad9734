"""The paths of a gradient: along the stream, through each branch, and how thick they are drawn."""

from dataclasses import dataclass
from math import ceil, floor, log10

import numpy as np
from numpy.typing import NDArray

from backlight.report.intervals import NORMAL_95
from backlight.tables import Table

_BESIDE = (0.16, 0.92)  # of a parallel block, where its loops begin and end, beside its neighbours'
_MOST_LINEAR = 8.0  # times, up to which thickness can grow with the norm itself
_MOST_DECADES = 6
_LEAST = 0.012  # of the greatest thickness, so that nothing vanishes
_LEAST_RANGE = 3.0  # times, from the lightest colour to the darkest


@dataclass(frozen=True, slots=True, kw_only=True)
class Strength:
    """One scale for all bands of a picture.

    Attributes:
        low: The norm with the lightest colour; on a logarithmic scale the thinnest too.
        high: The norm with the darkest colour and the greatest thickness.
        is_log: Thickness grows with the logarithm of the norm, not with the norm.
    """

    low: float
    high: float
    is_log: bool

    @staticmethod
    def of(stream: NDArray[np.float64], branches: NDArray[np.float64]) -> "Strength":
        """Choose a scale: logarithmic if the norms along the stream differ by more than 8 times.

        Args:
            stream: Norms along the stream.
            branches: Norms through branches; they may be weaker, and fade where they are too weak.

        Returns:
            The scale.
        """
        along = stream[stream > 0]
        every = np.concatenate([along, branches[branches > 0]])
        if not len(along):
            return Strength(low=0.1, high=1.0, is_log=False)
        high = float(every.max())
        least = max(float(every.min()), high * 10.0**-_MOST_DECADES)
        is_log = float(along.max() / along.min()) > _MOST_LINEAR
        low = 10.0 ** floor(log10(least)) if is_log else min(least, high / _LEAST_RANGE)
        return Strength(low=low, high=high, is_log=is_log)

    def thickness(self, norms: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """Compute the thickness of bands, the greatest being 1."""
        values = np.asarray(norms, dtype=np.float64)
        if not self.is_log:
            return np.asarray(np.clip(values / self.high, _LEAST, 1))
        decades = np.log10(np.maximum(values, self.low) / self.low)
        return np.asarray(np.clip(decades / log10(self.high / self.low), _LEAST, 1))

    def ticks(self) -> list[float]:
        """List round norms along the scale, about four of them."""
        first, last = ceil(log10(self.low) - 1e-9), floor(log10(self.high) + 1e-9)
        powers = [10.0**power for power in range(first, last + 1)]
        if len(powers) >= 3:
            return powers[:: -(-len(powers) // 6)]
        between = [lead * 10.0**power for power in range(first - 1, last + 1) for lead in (1, 2, 5)]
        return [value for value in between if self.low <= value <= self.high * (1 + 1e-9)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """What returns through one branch.

    Attributes:
        layer: The layer.
        name: ``attention`` or ``mlp``.
        is_parallel: Attention and MLP of its layer read the same stream.
        norm: The norm of the gradient that returns through it.
        cosine: Between that gradient and the one that goes around.
        error: The standard error of the cosine; NaN for one sequence.
    """

    layer: int
    name: str
    is_parallel: bool
    norm: float
    cosine: float
    error: float

    @property
    def depths(self) -> tuple[float, float]:
        """The depths where the gradient enters it, from behind, and where it leaves it."""
        halves = {"attention": (0.0, 0.5), "mlp": (0.5, 1.0)}
        start, end = _BESIDE if self.is_parallel else halves[self.name]
        return self.layer + end, self.layer + start

    @property
    def is_certain(self) -> bool:
        """The sign of the cosine is more than chance, as far as that is known."""
        return not abs(self.cosine) < NORMAL_95 * np.nan_to_num(self.error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """All paths of a run.

    Attributes:
        depths: Where the norm of the stream is known; layer i lies between i and i + 1.
        norms: The norms there.
        num_layers: How many layers the model has.
        branches: Those of the layers that were looked at.
    """

    depths: NDArray[np.float64]
    norms: NDArray[np.float64]
    num_layers: int
    branches: tuple[Branch, ...]

    @staticmethod
    def of(depth: Table, residual: Table) -> "Paths":
        """Read the paths from the tables of norms by depth, and of paths."""
        parallel = set(residual["layer"][residual["half"] == "block"].tolist())
        alone = ~np.isin(residual["layer"], [*parallel])
        mlp = residual.select((residual["half"] == "mlp") & alone)
        places = np.concatenate([depth["depth"], mlp["layer"] + 0.5])
        norms = np.concatenate([depth["gradient_norm"], mlp["input_norm"]])
        order = np.argsort(places)
        names = ("layer", "half", "transform_norm", "cosine", "cosine_se")
        columns = (residual[name].tolist() for name in names)
        return Paths(
            depths=places[order],
            norms=norms[order],
            num_layers=depth.num_rows - 1,
            branches=tuple(
                Branch(
                    layer=layer,
                    name=half,
                    is_parallel=layer in parallel,
                    norm=norm,
                    cosine=cosine,
                    error=error,
                )
                for layer, half, norm, cosine, error in zip(*columns, strict=True)
                if half != "block"
            ),
        )

    def norms_at(self, depths: NDArray[np.float64]) -> NDArray[np.float64]:
        """Interpolate the stream's norm at depths, between known ones smoothly by ratios."""
        logs = np.log(np.maximum(self.norms, self.scale.low))
        before = np.clip(np.searchsorted(self.depths, depths, "right") - 1, 0, len(logs) - 2)
        start, end = self.depths[before], self.depths[before + 1]
        part = (depths - start) / (end - start)
        # Level at each known depth, the curve never leaves the range of its two neighbours, as a
        # natural spline would: the picture shows no norm that was not measured.
        eased = part**2 * (3 - 2 * part)
        return np.exp(logs[before] + eased * (logs[before + 1] - logs[before]))

    @property
    def scale(self) -> Strength:
        """How strengths look, the same for all paths."""
        return Strength.of(self.norms, np.array([branch.norm for branch in self.branches]))

    @property
    def ends(self) -> NDArray[np.float64]:
        """The norm where the stream enters each layer, and where it leaves the last."""
        return self.norms[self.depths == np.round(self.depths)]
