"""The paths of a run's gradient: along the stream, and through each branch."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backlight.report.lines import NORMAL_95
from backlight.surveys.flow.figures.drawing.strength import Strength
from backlight.tables import Table

_BESIDE = (0.16, 0.92)  # of a parallel block, where its loops begin and end, beside its neighbours'


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """What returns through one branch.

    Attributes:
        layer: The layer.
        name: ``attention`` or ``mlp``.
        enters: The depth at which the gradient enters it, from behind.
        leaves: The depth at which it joins the stream again.
        is_parallel: Attention and MLP of its layer read the same stream.
        norm: The norm of the gradient that returns through it.
        cosine: Between that gradient and the one that goes around.
        error: The standard error of the cosine; NaN for one sequence.
    """

    layer: int
    name: str
    enters: float
    leaves: float
    is_parallel: bool
    norm: float
    cosine: float
    error: float

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
        mlp = residual.select(
            (residual["half"] == "mlp") & ~np.isin(residual["layer"], [*parallel])
        )
        places = np.concatenate([depth["depth"], mlp["layer"] + 0.5])
        norms = np.concatenate([depth["gradient_norm"], mlp["input_norm"]])
        order = np.argsort(places)
        return Paths(
            depths=places[order],
            norms=norms[order],
            num_layers=depth.num_rows - 1,
            branches=tuple(
                _branch(residual, row, is_parallel=residual["layer"][row] in parallel)
                for row in range(residual.num_rows)
                if residual["half"][row] != "block"
            ),
        )

    @property
    def scale(self) -> Strength:
        """How strengths look, the same for all paths."""
        return Strength.of(self.norms, np.array([branch.norm for branch in self.branches]))

    @property
    def ends(self) -> NDArray[np.float64]:
        """The norm where the stream enters each layer, and where it leaves the last."""
        return self.norms[self.depths == np.round(self.depths)]


def _branch(table: Table, row: int, *, is_parallel: bool) -> Branch:
    layer, name = int(table["layer"][row]), str(table["half"][row])
    start, end = _BESIDE if is_parallel else {"attention": (0.0, 0.5), "mlp": (0.5, 1.0)}[name]
    cosine, error = float(table["cosine"][row]), float(table["cosine_se"][row])
    return Branch(
        layer=layer,
        name=name,
        enters=layer + end,
        leaves=layer + start,
        is_parallel=is_parallel,
        norm=float(table["transform_norm"][row]),
        cosine=cosine,
        error=error,
    )
