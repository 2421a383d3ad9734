"""Why does attention alone not make a deep network, and what do queries and keys learn in one?

    backlight lab rank-collapse
    backlight lab rank-collapse --depths 4 64 --positions 32

A stack of attention layers (one head, no mask) at its first weights, N(0, 1/d), reads random
tokens. ``rest`` is what is left of the stream X without its mean over tokens, X - 1 x', and its
share in the energy |X|^2 says how far the tokens are from being all alike (rank one).

    attention           x' = A(x)                 collapses doubly exponentially (Dong et al. 2021)
    attention + MLP     x' = MLP(A(x))            likewise
    skip                x' = LN(x + A(x))         collapses exponentially
    skip, 1/sqrt(L)     x' = LN(x + A(x)/sqrt L)  does not (Noci et al. 2022)

*Without a skip*, scores differ between queries by products of rests only, and what they mix are
rests again: with n tokens the energy r of the rest (over the width) becomes about r^3 / n, the cube
that Dong et al. bound. *With one*, attention is nearly even: it doubles the energy of the mean (or
multiplies it by 1 + 1/L) and leaves the rest as it is, so that behind l layers, branches scaled by
a, the rest's share is

    1 / (1 + (1 + a^2)^l / (n - 1)).

Where tokens are alike, weights do not matter: the gradients of W_Q and W_K vanish with the square
of the rest, that of W_V does not.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from backlight.config.labs import RankCollapseConfig
from backlight.labs.intervals import estimate
from backlight.labs.notebook import Findings, Notebook
from backlight.report.plots import Panel, Plot
from backlight.tables import Column, Table

__all__ = ["KINDS", "Stack", "energies", "expected_share", "experiment"]

Arrays = Mapping[str, NDArray[np.float64]]
KINDS = ("attention", "attention + MLP", "skip", "skip, 1/sqrt(L)")
_WITH_SKIP = KINDS[2:]
_SIZES = np.logspace(-4, -1.5, 6)  # of the rest, against the mean, in the measurement of one layer
_FLOOR = 1e-28  # shares of energy below this are rounding


def experiment(config: RankCollapseConfig, notebook: Notebook) -> Findings:
    """Send tokens through, differentiate, tabulate.

    Args:
        config: The options.
        notebook: Where trials are carried out.

    Returns:
        Tables ``slopes`` (prediction beside measurement), ``depths`` (the last layer of each
        network) and ``layers`` (each layer of the deepest), a figure, and what they say.
    """

    def trial(kind: str, seed: int) -> Arrays:
        stacks = [_draw(config, kind, depth, seed, notebook) for depth in config.depths]
        tokens = _tokens(config, seed, notebook)
        found = [stack.measure(tokens) for stack in stacks]
        alike = tokens.mean(dim=0).expand_as(tokens)
        deepest = found[int(np.argmax(config.depths))]
        return {
            "shares": np.array([each["shares"][-1] for each in found]),
            "gradients": np.array([each["gradients"][-1] for each in found]),
            "layer_means": deepest["means"],
            "layer_rests": deepest["rests"],
            "layer_gradients": deepest["gradients"],
            "of_identical_tokens": stacks[0].measure(alike)["gradients"][0],
            "exponent": np.array(_exponent(config, kind, seed, notebook)),
        }

    trials = {
        f"{kind}, seed {seed}": partial(trial, kind, seed)
        for kind in KINDS
        for seed in config.all_seeds
    }
    found = list(notebook.carry_out(trials).values())
    by_kind = {
        kind: found[number * config.seeds : (number + 1) * config.seeds]
        for number, kind in enumerate(KINDS)
    }
    slopes = _slopes(config, by_kind)
    return Findings(
        tables=(slopes, _depths(config, by_kind), _layers(config, by_kind)),
        plots=[_plot(config)],
        printed=("slopes", "depths"),
        remarks=_remarks(slopes, by_kind),
    )


# The network --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Attention layers at their first weights.

    Attributes:
        kind: One of ``KINDS``.
        layers: The matrices of each: query, key, value, and two of an MLP.
        weights: What the loss multiplies the last stream with.
    """

    kind: str
    layers: Sequence[tuple[Tensor, ...]]
    weights: Float[Tensor, "positions width"]

    def forward(
        self, x: Float[Tensor, "positions width"]
    ) -> list[Float[Tensor, "positions width"]]:
        """Give the stream before the first layer and behind each."""
        streams, scale = [x], len(self.layers) ** -0.5 if self.kind == KINDS[3] else 1.0
        for query, key, value, first, second in self.layers:
            scores = (x @ query) @ (x @ key).T / math.sqrt(x.shape[1])
            gathered = scores.softmax(dim=-1) @ (x @ value)
            if self.kind == KINDS[1]:
                x = math.sqrt(2) * torch.relu(gathered @ first) @ second
            elif self.kind in _WITH_SKIP:
                x = functional.layer_norm(x + scale * gathered, x.shape[1:], eps=0.0)
            else:
                x = gathered
            streams.append(x)
        return streams

    def measure(self, x: Float[Tensor, "positions width"]) -> Arrays:
        """Follow tokens forward and the gradient of a random linear loss back.

        Args:
            x: The tokens.

        Returns:
            ``means``, ``rests`` and ``shares`` before the first layer and behind each, and
            ``gradients``: for each layer the norms for W_Q, W_K and W_V.
        """
        streams = self.forward(x)
        wanted = [matrix for layer in self.layers for matrix in layer[:3]]
        gradients = torch.autograd.grad((streams[-1] * self.weights).sum(), wanted)
        norms = np.array([gradient.norm().item() for gradient in gradients]).reshape(-1, 3)
        means, rests = np.array([energies(stream.detach()) for stream in streams]).T
        return {
            "means": means,
            "rests": rests,
            "shares": rests / (means + rests),
            "gradients": norms,
        }


def energies(x: Float[Tensor, "positions width"]) -> tuple[float, float]:
    """Split the mean square of a stream into that of the mean token and that of the rest."""
    mean = x.mean(dim=0)
    return mean.square().mean().item(), (x - mean).square().mean().item()


def expected_share(layers: int, *, positions: int, scale: float) -> float:
    """Predict the rest's share with skip connections and even attention.

    Args:
        layers: How many were passed.
        positions: Tokens, independent at first.
        scale: What each branch is multiplied by.

    Returns:
        The share.
    """
    return 1 / (1 + (1 + scale**2) ** layers / (positions - 1))


def _draw(
    config: RankCollapseConfig, kind: str, depth: int, seed: int, notebook: Notebook
) -> Stack:
    generator = torch.Generator().manual_seed(seed)

    def normal(rows: int, std: float) -> Tensor:
        entries = torch.randn(rows, config.width, dtype=torch.float64, generator=generator)
        return (std * entries).to(notebook.device)

    weights = normal(config.positions, (config.positions * config.width) ** -0.5)
    layers = [
        tuple(normal(config.width, config.width**-0.5).requires_grad_() for _ in range(5))
        for _ in range(depth)
    ]
    return Stack(kind=kind, layers=layers, weights=weights)


def _tokens(config: RankCollapseConfig, seed: int, notebook: Notebook) -> Tensor:
    generator = torch.Generator().manual_seed(seed + 1_000_003)  # apart from the weights
    shape = (config.positions, config.width)
    return torch.randn(shape, dtype=torch.float64, generator=generator).to(notebook.device)


def _exponent(config: RankCollapseConfig, kind: str, seed: int, notebook: Notebook) -> float:
    """Measure how the rest's length behind one layer goes with its length before."""
    stack, tokens = _draw(config, kind, 1, seed, notebook), _tokens(config, seed, notebook)
    mean = tokens[0]
    rest = tokens - tokens.mean(dim=0)
    lengths = [energies(stack.forward(mean + size * rest)[-1].detach())[1] for size in _SIZES]
    return float(np.polyfit(np.log(_SIZES), np.log(lengths) / 2, 1)[0])


# Tables, figures, sentences -----------------------------------------------------------------------

ByKind = Mapping[str, Sequence[Arrays]]


def _scale(kind: str, depth: int) -> float:
    return depth**-0.5 if kind == KINDS[3] else 1.0


def _expected(config: RankCollapseConfig, kind: str, depth: int) -> float:
    return expected_share(depth, positions=config.positions, scale=_scale(kind, depth))


def _slopes(config: RankCollapseConfig, found: ByKind) -> Table:
    """Lay prediction beside measurement."""
    rows = list[tuple[str, str, float, NDArray[np.float64]]]()
    depths = np.array(config.depths)
    for kind, predicted in zip(KINDS, (3.0, 3.0, 1.0, 1.0), strict=True):
        exponents = np.array([float(trial["exponent"]) for trial in found[kind]])
        rows.append(("exponent of the rest through one layer", kind, predicted, exponents))
    for kind in _WITH_SKIP:
        expected = [_expected(config, kind, depth) for depth in config.depths]
        shares = np.array([trial["shares"] for trial in found[kind]])
        what = "slope of log2(rest's share) per layer of depth"
        slope = np.polyfit(depths, np.log2(expected), 1)[0]
        rows.append((what, kind, float(slope), np.polyfit(depths, np.log2(shares).T, 1)[0]))
    for kind in _WITH_SKIP:
        ratios = np.array([_ratios(trial["gradients"])[:, 0] for trial in found[kind]])
        what = "slope of log2(|dW_Q| / |dW_V|) per layer of depth"
        predicted = next(row[2] for row in rows if row[1] == kind and "share" in row[0])
        rows.append((what, kind, predicted, np.polyfit(depths, np.log2(ratios).T, 1)[0]))
    names, kinds, predictions, measured = zip(*rows, strict=True)
    return Table(
        name="slopes",
        columns={
            "quantity": np.array(names),
            "network": np.array(kinds),
            "predicted": np.array(predictions),
            **_columns("measured", [estimate(values) for values in measured]),
        },
    )


def _depths(config: RankCollapseConfig, found: ByKind) -> Table:
    """Tabulate what the last layer of each network is given and gets."""
    depths, ratios = np.array(config.depths), dict[str, Column]()
    shares = _geometric("share", [np.array([t["shares"] for t in found[kind]]) for kind in KINDS])
    for column, name in enumerate(("query", "key")):
        measured = [
            np.array([_ratios(trial["gradients"])[:, column] for trial in found[kind]])
            for kind in KINDS
        ]
        ratios |= _geometric(f"{name}_to_value", measured, math.sqrt(_FLOOR))
    expected = [
        _expected(config, kind, depth) if kind in _WITH_SKIP else np.nan
        for kind in KINDS
        for depth in config.depths
    ]
    return Table(
        name="depths",
        columns={
            "network": np.repeat(KINDS, len(depths)),
            "depth": np.tile(depths, len(KINDS)),
            "predicted": np.array(expected),
            **shares,
            **ratios,
        },
        units={"depth": "layers"},
    )


def _layers(config: RankCollapseConfig, found: ByKind) -> Table:
    """Tabulate each layer of the deepest network, by what it is given."""
    depth = max(config.depths)
    numbers = np.arange(depth)
    shares, ratios, expected = list[Column](), list[Column](), list[Column]()
    for kind in KINDS:
        means = np.array([trial["layer_means"] for trial in found[kind]])
        rests = np.array([trial["layer_rests"] for trial in found[kind]])
        shares.append((rests / (means + rests))[:, :-1])
        ratios.append(np.array([_ratios(t["layer_gradients"])[:, 0] for t in found[kind]]))
        if kind in _WITH_SKIP:
            scale = _scale(kind, depth)
            ahead = [
                expected_share(number, positions=config.positions, scale=scale)
                for number in range(depth)
            ]
            expected.append(np.array(ahead))
        else:
            expected.append(_cubed(means, rests, config.positions))
    return Table(
        name="layers",
        columns={
            "network": np.repeat(KINDS, depth),
            "layer": np.tile(numbers + 1, len(KINDS)),
            "predicted": np.concatenate(expected),
            **_geometric("share", shares),
            **_geometric("query_to_value", ratios, math.sqrt(_FLOOR)),
        },
    )


def _cubed(
    means: NDArray[np.float64], rests: NDArray[np.float64], positions: int
) -> NDArray[np.float64]:
    """Predict each share from the layer before, without a skip: r becomes r^3 / n."""
    ahead = rests[:, :-2] ** 3 / positions
    shares = ahead / (means[:, :-2] + ahead)
    first = np.full((len(means), 1), 1 - 1 / positions)  # of independent tokens
    expected = np.exp(np.log(np.maximum(np.hstack([first, shares]), _FLOOR)).mean(axis=0))
    return np.where(expected > 2 * _FLOOR, expected, np.nan)


def _ratios(gradients: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide the norms for queries and keys by those for values."""
    return gradients[..., :2] / gradients[..., 2:]


def _geometric(
    name: str, measured: Sequence[NDArray[np.float64]], floor: float = _FLOOR
) -> dict[str, Column]:
    """Average logarithms over the first axis, with intervals; blank where one is at the floor."""
    columns = [column for values in measured for column in values.T]
    logs = [
        np.log(column) if column.min() > floor else np.full(len(column), np.nan)
        for column in columns
    ]
    found = _columns(name, [estimate(column) for column in logs], f"{name}_")
    return {key: np.exp(column) for key, column in found.items()}


def _columns(name: str, estimates: Sequence[object], prefix: str = "") -> dict[str, Column]:
    names = {name: "mean", f"{prefix}low": "low", f"{prefix}high": "high"}
    return {
        column: np.array([getattr(each, attribute) for each in estimates])
        for column, attribute in names.items()
    }


def _plot(config: RankCollapseConfig) -> Plot:
    deepest = max(config.depths)
    what = {
        "share": ("share of the rest in the energy", f"in the {deepest} layers of one network"),
        "query_to_value": ("|dL/dW_Q| / |dL/dW_V|", f"in the {deepest} layers of one network"),
    }
    panels = [
        Panel(
            table=table,
            x=x,
            y=column,
            series="network",
            low=f"{column}_low",
            high=f"{column}_high",
            dashed="predicted" if column == "share" else None,
            log="y",
            title=title if table == "layers" else "at the last layer, against depth",
            x_label="layer, by what it reads" if table == "layers" else None,
            y_label=label,
        )
        for column, (label, title) in what.items()
        for table, x in (("layers", "layer"), ("depths", "depth"))
    ]
    return Plot(
        name="rank_collapse",
        title=f"Attention makes tokens alike, and queries and keys stop learning ({config.seeds} "
        "seeds, 95 % intervals)",
        panels=panels,
    )


def _remarks(slopes: Table, found: ByKind) -> list[str]:
    told = [
        f"{slopes['quantity'][row]}, {slopes['network'][row]}: predicted "
        f"{slopes['predicted'][row]:.3g}, measured {slopes['measured'][row]:.3g} "
        f"({slopes['low'][row]:.3g} to {slopes['high'][row]:.3g})."
        for row in range(len(slopes))
    ]
    alike = np.array(
        [trial["of_identical_tokens"] for trials in found.values() for trial in trials]
    )
    return [
        *told,
        f"Where all tokens are one, the first layer's |dW_Q| and |dW_K| are at most "
        f"{_ratios_at_most(alike):.1g} of its |dW_V|: zero, but for rounding.",
        "Shares below 1e-28 and ratios below 1e-14 are rounding, and are left blank.",
    ]


def _ratios_at_most(gradients: NDArray[np.float64]) -> float:
    return float((gradients[:, :2] / gradients[:, 2:]).max())
