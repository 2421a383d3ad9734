"""Why does the place of the norm decide whether a deep transformer needs warm-up?

    backlight lab norm-placement
    backlight lab norm-placement --learning_rates 1e-3 2e-3 4e-3 --n_layer 8

*At the first weights*, the network of Xiong et al. (2020, arXiv 2002.04745): one head that attends
evenly (W_Q = W_K = 0), an MLP d -> d -> d with ReLU, all weights N(0, 1/d), norms without gain,

    post:  m = LN(x + attention(x)),     x' = LN(m + MLP(m))
    pre:   m = x + attention(LN(x)),     x' = m + MLP(LN(m)),     LN at the very end,

and the cross-entropy of random labels. They say of the gradient of the last MLP's second matrix:
its norm falls as 1/sqrt(L) with pre, and does not depend on the depth L with post; and that each
post norm shrinks the gradient by sqrt(2/3), so that it decays as (2/3)^((L-l)/2) towards the input.

Beside it stands what the limit of wide networks gives without bounds: inner products of tokens
(and of their gradients) are followed through the layers, squares and products apart.

*In training*, a small GPT learns characters with both placements, with and without warm-up.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from backlight.config.labs import CharacterOptions, NormPlacementConfig
from backlight.data.characters import Characters
from backlight.labs.curves import curve
from backlight.labs.intervals import estimate
from backlight.labs.learning import Lesson, make_network, open_text
from backlight.labs.notebook import Findings, Notebook
from backlight.local import LocalGPT
from backlight.report.plots import Panel, Plot
from backlight.tables import Column, Table

__all__ = ["Expected", "experiment", "measure", "wide_network"]

Arrays = Mapping[str, NDArray[np.float64]]
_PLACEMENTS = ("pre", "post")
_LAST_SLOPES = {"pre": -0.5, "post": 0.0}  # Xiong's, log-log of depth
_AT_THE_END = 20  # steps over which the loss at the end is averaged


def experiment(config: NormPlacementConfig, notebook: Notebook) -> Findings:
    """Measure at the first weights, train, tabulate.

    Args:
        config: The options.
        notebook: Where trials are carried out.

    Returns:
        Tables ``slopes`` (prediction beside measurement), ``depths``, ``layers``, ``sizes``,
        ``training`` and ``curves``, two figures, and what they say.
    """
    text = open_text(_lesson_options(config))

    def first_weights(placement: str, seed: int) -> Arrays:
        found = {
            depth: measure(
                placement,
                depth,
                width=config.width,
                positions=config.positions,
                seed=seed,
                device=notebook.device,
            )
            for depth in config.depths
        }
        deepest = found[max(config.depths)]
        last = np.array([found[depth].weights[-1] for depth in config.depths])
        return {"last": last, "weights": deepest.weights, "sizes": deepest.sizes}

    def training(placement: str, rate: float, warmup: int, seed: int) -> Arrays:
        return {"losses": train(config, text, placement, rate, warmup, seed, notebook.device)}

    at_first = {
        f"{placement}-norm, seed {seed}": partial(first_weights, placement, seed)
        for placement in _PLACEMENTS
        for seed in config.all_seeds
    }
    trained = {
        f"{kind} at {rate:g}, seed {seed}": partial(training, placement, rate, warmup, seed)
        for rate in config.learning_rates
        for kind, placement, warmup in _kinds(config)
        for seed in range(config.seed, config.seed + config.training_seeds)
    }
    found = list(notebook.carry_out(at_first).values())
    half = len(found) // 2
    by_placement = {"pre": found[:half], "post": found[half:]}
    losses = [trial["losses"] for trial in notebook.carry_out(trained).values()]
    runs = np.array(losses).reshape(len(config.learning_rates), 4, -1, config.num_steps)
    slopes, ends = _slopes(config, by_placement), _training(config, runs)
    return Findings(
        tables=(
            slopes,
            _depths(config, by_placement),
            _layers(config, by_placement),
            _sizes(config, by_placement),
            ends,
            _curves(config, runs),
        ),
        plots=_plots(config),
        printed=("slopes", "depths", "training"),
        remarks=_remarks(config, slopes, ends),
    )


# The network at its first weights -----------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Gradients and sizes along one network, measured or predicted.

    Attributes:
        weights: Of each layer, the norm of the gradient of the MLP's second matrix.
        sizes: Of each layer, the mean square of an entry of the stream: with pre behind the layer,
            with post before its second norm (behind it, it is 1).
    """

    weights: NDArray[np.float64]
    sizes: NDArray[np.float64]


def measure(
    placement: str,
    depth: int,
    *,
    width: int,
    positions: int,
    seed: int,
    device: torch.device,
) -> Expected:
    """Draw a network, send random tokens and labels through, and differentiate.

    Args:
        placement: ``pre`` or ``post``.
        depth: Layers.
        width: Of the stream, of the MLP and of the vocabulary.
        positions: Tokens of the one sequence.
        seed: Of weights, tokens and labels.
        device: Where it runs.

    Returns:
        What was measured.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(rows: int, std: float) -> Tensor:
        return std * torch.randn(rows, width, generator=generator).to(device)

    def norm(x: Tensor) -> Tensor:
        return functional.layer_norm(x, (width,))

    x, std = normal(positions, 1.0), width**-0.5
    labels = torch.randint(width, (positions,), generator=generator).to(device)
    seconds, sizes = list[Tensor](), list[float]()
    for _ in range(depth):
        value, first, second = (normal(width, std) for _ in range(3))
        seconds.append(second.requires_grad_())
        if placement == "pre":
            m = x + (norm(x) @ value).mean(dim=0)
            x = m + torch.relu(norm(m) @ first) @ second
            sizes.append(x.square().mean().item())
        else:
            m = norm(x + (x @ value).mean(dim=0))
            x = m + torch.relu(m @ first) @ second
            sizes.append(x.square().mean().item())
            x = norm(x)
    logits = (norm(x) if placement == "pre" else x) @ normal(width, std)
    gradients = torch.autograd.grad(functional.cross_entropy(logits, labels), seconds)
    return Expected(
        weights=np.array([gradient.norm().item() for gradient in gradients]), sizes=np.array(sizes)
    )


def wide_network(placement: str, depth: int, *, width: int, positions: int) -> Expected:
    """Predict what ``measure`` finds, in the limit of wide networks.

    Two tokens' inner product over the width is ``square`` if they are one and ``product`` if they
    differ (on average); their gradients' are ``error`` and ``shared``.

    Args:
        placement: ``pre`` or ``post``.
        depth: Layers.
        width: Of the network.
        positions: Tokens of the sequence.

    Returns:
        Root mean squares over networks.
    """
    square, product, n = 1.0, 0.0, positions
    passed, sizes = list[tuple[float, float, float]](), list[float]()
    for _ in range(depth):
        before = square
        mean = _mean_square(1.0, product / square, n)  # of what attention adds, to all tokens alike
        middle, product = square + mean, product + mean
        cosine = product / middle
        passed.append((before, middle, cosine))
        if placement == "pre":
            square, product = middle + _relu_product(1.0), product + _relu_product(cosine)
            sizes.append(square)
        else:
            sizes.append(1 + _relu_product(1.0))
            square, product = 1.0, (cosine + _relu_product(cosine)) / sizes[-1]
    last = square if placement == "pre" else 1.0
    # p - y of uniform labels and logits N(0, 1), then the head, whose columns have length 1.
    error = (1 + (math.e - 2) / width) / last
    shared = (math.exp(product / square) - 1) / width / last
    weights = list[float]()
    for before, middle, cosine in reversed(passed):
        if placement == "post":
            error, shared = (each / (1 + _relu_product(1.0)) for each in (error, shared))
        hidden, alike = _relu_product(1.0), _relu_product(cosine)
        weights.append(math.sqrt(width * (hidden * error + (n - 1) * alike * shared) / n))
        at_mlp, at_attention = (middle, before) if placement == "pre" else (1.0, 1.0)
        error += error * _relu_slopes(1.0) / at_mlp
        shared += shared * _relu_slopes(cosine) / at_mlp
        if placement == "post":
            error, shared = error / middle, shared / middle
        mean = _mean_square(error, shared, n) / at_attention
        error, shared = error + mean, shared + mean
    return Expected(weights=np.array(weights[::-1]), sizes=np.array(sizes))


def _mean_square(square: float, product: float, count: int) -> float:
    """Give the square of the mean of some vectors, from their squares and products."""
    return (square + (count - 1) * product) / count


def _relu_product(cosine: float) -> float:
    """Give E[relu(a) relu(b)] for standard normal a and b (Cho and Saul 2009)."""
    angle = math.acos(min(1.0, cosine))
    return (math.sin(angle) + cosine * (math.pi - angle)) / (2 * math.pi)


def _relu_slopes(cosine: float) -> float:
    """Give the chance that both are positive."""
    return (math.pi - math.acos(min(1.0, cosine))) / (2 * math.pi)


# The training -------------------------------------------------------------------------------------


def train(
    config: NormPlacementConfig,
    text: Characters,
    placement: str,
    learning_rate: float,
    warmup: int,
    seed: int,
    device: torch.device,
) -> NDArray[np.float64]:
    """Train a small GPT by AdamW; the rate rises over some steps and then stays.

    Args:
        config: The options.
        text: What it learns.
        placement: ``pre`` or ``post``.
        learning_rate: Where the rate rises to.
        warmup: Over how many steps; 0 for none.
        seed: Of weights and batches.
        device: Where it runs.

    Returns:
        The loss of each step's batch; NaN behind the first that is not finite.
    """
    options = _lesson_options(config)
    model = make_network(options, text, seed, norm_placement=placement)
    if config.initialisation == "glorot":
        glorot(model)
    model.to(device)
    lesson = Lesson(options, text, seed, device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
    losses = np.full(config.num_steps, np.nan)
    for step in range(config.num_steps):
        rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
        optimizer.param_groups[0]["lr"] = learning_rate * rise
        _, loss = model(*lesson.draw())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if not np.isfinite(loss.item()):
            break
        losses[step] = loss.item()
    return losses


def glorot(model: LocalGPT) -> None:
    """Give each linear map of the blocks Glorot's weights, and embeddings size 1."""
    for name, parameter in model.named_parameters():
        if ".h." in name and parameter.dim() > 1:
            nn.init.xavier_normal_(parameter)
        elif name.endswith("wte.weight"):
            nn.init.normal_(parameter)


def _lesson_options(config: NormPlacementConfig) -> CharacterOptions:
    shared = ("text", "num_steps", "batch_size", "block_size", "n_layer", "n_head", "n_embd")
    return CharacterOptions(**{name: getattr(config, name) for name in shared})


def _kinds(config: NormPlacementConfig) -> list[tuple[str, str, int]]:
    """Give what is trained: its name, its placement and its warm-up."""
    return [
        (f"{placement}-norm, {'warm-up' if steps else 'no warm-up'}", placement, steps)
        for placement in _PLACEMENTS
        for steps in (0, config.warmup_steps)
    ]


# Tables, figures, sentences -----------------------------------------------------------------------

ByPlacement = Mapping[str, Sequence[Arrays]]


def _predicted(config: NormPlacementConfig, placement: str, depth: int) -> Expected:
    return wide_network(placement, depth, width=config.width, positions=config.positions)


def _last_predicted(config: NormPlacementConfig, placement: str) -> NDArray[np.float64]:
    return np.array([_predicted(config, placement, depth).weights[-1] for depth in config.depths])


def _slope(config: NormPlacementConfig, norms: NDArray[np.float64]) -> float:
    return float(np.polyfit(np.log(config.depths), np.log(norms), 1)[0])


def _slopes(config: NormPlacementConfig, found: ByPlacement) -> Table:
    """Lay prediction beside measurement: the paper's, the wide network's, ours."""
    rows = list[tuple[str, str, float, float, NDArray[np.float64]]]()
    depth = max(config.depths)
    for placement in _PLACEMENTS:
        slopes = np.array([_slope(config, trial["last"]) for trial in found[placement]])
        expected = _slope(config, _last_predicted(config, placement))
        what = "slope of the last layer, log-log of depth"
        rows.append((what, placement, _LAST_SLOPES[placement], expected, slopes))
    for placement in _PLACEMENTS:
        weights = _predicted(config, placement, depth).weights
        ratios = np.array(
            [trial["weights"][0] / trial["weights"][-1] for trial in found[placement]]
        )
        papers = 1.0 if placement == "pre" else (2 / 3) ** ((depth - 1) / 2)
        what = f"first layer over last, {depth} layers"
        rows.append((what, placement, papers, float(weights[0] / weights[-1]), ratios))
    names, placements, papers, wide, measured = zip(*rows, strict=True)
    estimates = [estimate(values) for values in measured]
    return Table(
        name="slopes",
        columns={
            "quantity": np.array(names),
            "norm": np.array(placements),
            "xiong": np.array(papers),
            "wide_network": np.array(wide),
            "measured": np.array([each.mean for each in estimates]),
            "low": np.array([each.low for each in estimates]),
            "high": np.array([each.high for each in estimates]),
        },
    )


def _depths(config: NormPlacementConfig, found: ByPlacement) -> Table:
    measured = [np.array([trial["last"] for trial in found[each]]) for each in _PLACEMENTS]
    return Table(
        name="depths",
        columns={
            "norm": np.repeat(_PLACEMENTS, len(config.depths)),
            "depth": np.tile(config.depths, 2),
            "doublings": np.tile(np.log2(config.depths), 2),
            "wide_network": np.concatenate([_last_predicted(config, p) for p in _PLACEMENTS]),
            **_over_seeds("last_layer_gradient", measured),
        },
        units={"depth": "layers"},
    )


def _layers(config: NormPlacementConfig, found: ByPlacement) -> Table:
    depth = max(config.depths)
    measured = [np.array([trial["weights"] for trial in found[each]]) for each in _PLACEMENTS]
    last = [float(values[:, -1].mean()) for values in measured]
    decay = (2 / 3) ** ((depth - np.arange(1, depth + 1)) / 2)
    return Table(
        name="layers",
        columns={
            "norm": np.repeat(_PLACEMENTS, depth),
            "layer": np.tile(np.arange(1, depth + 1), 2),
            "wide_network": np.concatenate(
                [_predicted(config, placement, depth).weights for placement in _PLACEMENTS]
            ),
            "xiong": np.concatenate([np.full(depth, last[0]), last[1] * decay]),
            **_over_seeds("gradient", measured),
        },
    )


def _sizes(config: NormPlacementConfig, found: ByPlacement) -> Table:
    depth = max(config.depths)
    measured = [np.array([trial["sizes"] for trial in found[each]]) for each in _PLACEMENTS]
    layers = np.arange(1, depth + 1)
    names = ("pre, behind the layer", "post, before its second norm")
    return Table(
        name="sizes",
        columns={
            "stream": np.repeat(names, depth),
            "layer": np.tile(layers, 2),
            "wide_network": np.concatenate(
                [_predicted(config, placement, depth).sizes for placement in _PLACEMENTS]
            ),
            "xiong_low": np.concatenate([1 + layers / 2, np.full(depth, 1.5)]),
            "xiong_high": np.concatenate([1 + 3 * layers / 2, np.full(depth, 1.5)]),
            **_over_seeds("mean_square", measured),
        },
    )


def _over_seeds(name: str, measured: Sequence[NDArray[np.float64]]) -> dict[str, Column]:
    """Average over the first axis, with intervals."""
    estimates = [estimate(column) for values in measured for column in values.T]
    return {
        name: np.array([each.mean for each in estimates]),
        "low": np.array([each.low for each in estimates]),
        "high": np.array([each.high for each in estimates]),
    }


def _training(config: NormPlacementConfig, runs: NDArray[np.float64]) -> Table:
    kinds = [kind for kind, _, _ in _kinds(config)]
    # The mean is NaN where a training broke off: it did not get to the end.
    ends = runs[..., -_AT_THE_END:].mean(axis=-1).reshape(-1, runs.shape[2])
    return Table(
        name="training",
        columns={
            "learning_rate": np.repeat(config.learning_rates, len(kinds)),
            "training": np.tile(kinds, len(config.learning_rates)),
            **_over_seeds("loss_at_the_end", [ends.T]),
            "broken_off": np.isnan(ends).sum(axis=1),
        },
        units={"loss_at_the_end": "nats"},
    )


def _curves(config: NormPlacementConfig, runs: NDArray[np.float64]) -> Table:
    kinds = [kind for kind, _, _ in _kinds(config)]
    curves = [curve(of_seeds) for of_rate in runs for of_seeds in of_rate]
    points = len(curves[0][0])
    rates = [f"{rate:g}" for rate in config.learning_rates]
    return Table(
        name="curves",
        columns={
            "learning_rate": np.repeat(rates, len(kinds) * points),
            "training": np.tile(np.repeat(kinds, points), len(rates)),
            "step": np.concatenate([steps for steps, _ in curves]),
            "loss": np.concatenate([losses for _, losses in curves]),
        },
        units={"loss": "nats"},
    )


def _plots(config: NormPlacementConfig) -> list[Plot]:
    deepest = max(config.depths)
    at_first = [
        Panel(
            table="depths",
            x="doublings",
            y="last_layer_gradient",
            series="norm",
            dashed="wide_network",
            log="y",
            title="last layer, against depth: slopes -1/2 and 0",
            x_label="layers, as a power of 2",
            y_label="norm of the gradient of W2",
            low="low",
            high="high",
        ),
        *(
            Panel(
                table="layers",
                x="layer",
                y="gradient",
                series="norm",
                dashed=dashed,
                log="y",
                title=title,
                y_label="norm of the gradient of W2",
                low="low",
                high="high",
            )
            for dashed, title in (
                ("wide_network", f"each of {deepest} layers, and the limit of wide networks"),
                ("xiong", "the same, and the decay that Xiong et al. estimate"),
            )
        ),
        Panel(
            table="sizes",
            x="layer",
            y="mean_square",
            series="stream",
            dashed="wide_network",
            title="size of the stream",
            y_label="mean square of an entry",
            low="low",
            high="high",
        ),
    ]
    trained = [
        Panel(
            table="curves",
            x="step",
            y="loss",
            series="training",
            where={"learning_rate": f"{rate:g}"},
            title=f"AdamW at {rate:g}",
        )
        for rate in config.learning_rates
    ]
    return [
        Plot(
            name="norm_placement",
            title=f"Norms before (pre) and behind (post) the branches, first weights, "
            f"{config.seeds} seeds, 95 % intervals",
            panels=at_first,
        ),
        Plot(
            name="norm_placement_training",
            title=f"{config.n_layer} blocks learn characters, {config.initialisation} weights, "
            f"mean of {config.training_seeds} seeds",
            panels=trained,
        ),
    ]


def _remarks(config: NormPlacementConfig, slopes: Table, ends: Table) -> list[str]:
    told = [
        f"{slopes['quantity'][row]}, {slopes['norm'][row]}-norm: Xiong et al. "
        f"{slopes['xiong'][row]:.3g}, wide network {slopes['wide_network'][row]:.3g}, measured "
        f"{slopes['measured'][row]:.3g} ({slopes['low'][row]:.3g} to {slopes['high'][row]:.3g})."
        for row in range(len(slopes))
    ]
    losses = [
        "; ".join(
            f"{kind} {loss:.2f}" if np.isfinite(loss) else f"{kind} broke off"
            for kind, loss in zip(
                ends["training"][rows], ends["loss_at_the_end"][rows], strict=True
            )
        )
        for rows in np.split(np.arange(len(ends)), len(config.learning_rates))
    ]
    return [
        *told,
        "The estimate (2/3)^((L-l)/2) counts what the norms take away and leaves out what the "
        "branches give back: behind each MLP the gradient's square grows by 1 + 1/2, which is what "
        "its norm divides by.",
        *(
            f"Training at {rate:g}, loss of the last {_AT_THE_END} steps: {line}."
            for rate, line in zip(config.learning_rates, losses, strict=True)
        ),
    ]
