"""How often 95 % intervals hold the truth: passages of tokens drawn from known distributions."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from backlight.decompose.depth import depth_slope
from backlight.report.intervals import NORMAL_95
from backlight.stats.bootstrap import PoissonBootstrap
from backlight.stats.moments import Moments
from backlight.stats.ratio import Ratios
from backlight.stats.second_moment import SecondMoment
from backlight.stats.sparse import Entries, SparseMoments

MEAN = 0.3
NUM_DEPTHS, RATE = 5, -0.1
_FIRES = (0.05, 0.5)  # how often a feature fires in some passages, and in others
_WILD = (0.7, 0.5)  # spread of the logarithm of a token's and of a passage's size


@dataclass(frozen=True)
class Kind:
    """A kind of data: numbers of tokens that share a shift within their passage.

    Attributes:
        lengths: What a passage's length may be.
        chances: How likely each of these is.
        shift: The standard deviation of what the tokens of a passage share, beside 1 of their own.
        wild: Sizes differ by factors, from token to token and from passage to passage.
        weighed: A passage's numbers are divided by its length, as gradients of a mean loss are.
    """

    lengths: np.ndarray
    chances: np.ndarray
    shift: float = 0.3
    wild: bool = False
    weighed: bool = False

    def draw_lengths(self, count, random):
        return random.choice(self.lengths, size=count, p=self.chances)

    def weights(self, lengths):
        return self.lengths.mean() / lengths if self.weighed else np.ones(len(lengths))

    def draw(self, lengths, width, random):
        """Draw numbers for each token, ``[passages, positions, width]``; zeros at pads."""
        shape = len(lengths), int(lengths.max()), width
        own = torch.from_numpy(random.standard_normal(shape))
        if self.wild:
            token, passage = _WILD
            sizes = token * random.standard_normal(shape)
            sizes += passage * random.standard_normal((shape[0], 1, width))
            own *= torch.from_numpy(np.exp(sizes))
        shared = torch.from_numpy(random.standard_normal((shape[0], 1, width)))
        values = MEAN + self.shift * shared + own
        return values * torch.from_numpy(self.weights(lengths))[:, None, None]

    def truths(self):
        """What means over all tokens of infinitely many passages are, by statistic."""
        random = np.random.default_rng(1)
        plain = Kind(np.array([1]), np.array([1.0]), self.shift, self.wild)
        size = float(plain.draw(np.ones(2_000_000, dtype=int), 1, random).abs().mean())
        square = MEAN**2 + self.shift**2
        square += float(np.exp(2 * (_WILD[0] ** 2 + _WILD[1] ** 2))) if self.wild else 1.0
        tokens = self.chances @ self.lengths
        weight = self.chances @ (self.lengths * self.weights(self.lengths)) / tokens
        weight_square = self.chances @ (self.lengths * self.weights(self.lengths) ** 2) / tokens
        return {
            "mean": weight * MEAN,
            "mean along a direction": weight * MEAN,
            "mean where a feature fires": weight * MEAN,
            "mean_abs": weight * size,
            "rms": (weight_square * square) ** 0.5,
            "share": 0.5,
            "slope": RATE,
        }


def _uniform(low, high):
    lengths = np.arange(low, high + 1)
    return lengths, np.full(len(lengths), 1 / len(lengths))


def _geometric():
    """Lengths from 2 to 256, of which the middle is 23 and few are long."""
    lengths = np.unique(np.geomspace(2, 256, 30).astype(int))
    chances = np.exp(-0.5 * ((np.log(lengths) - np.log(23)) / 1.2) ** 2)
    return lengths, chances / chances.sum()


KINDS: Mapping[str, Kind] = {
    "normal": Kind(*_uniform(16, 32)),
    "heavy-tailed": Kind(*_uniform(16, 32), wild=True),
    "strongly clustered": Kind(*_uniform(16, 32), shift=1.0),
    "very uneven lengths": Kind(*_geometric(), weighed=True),
}
STATISTICS = tuple(KINDS["normal"].truths())


def intervals(kind, num_passages, width, random) -> Iterator[tuple[str, tuple]]:
    """Draw one sample of passages for each of several columns, and yield each statistic's interval.

    Yields:
        The name, and value, lower and upper end for each column.
    """
    lengths = kind.draw_lengths(num_passages, random)
    valid = torch.arange(int(lengths.max()))[None] < torch.from_numpy(lengths)[:, None]
    passages = random.integers(0, 2**31, num_passages).tolist()
    values = kind.draw(lengths, width, random) * valid[..., None]
    seen = {"valid": valid, "passages": passages}

    moments = _fed(Moments(width), values, seen)
    yield "mean", _normal(moments.mean, moments.mean_se)
    yield "mean_abs", _normal(moments.mean_abs, moments.mean_abs_se)
    squares = _fed(Moments(width), values.square(), seen)
    rms = np.sqrt(squares.mean)
    yield "rms", _normal(rms, squares.mean_se / (2 * rms))
    second = SecondMoment(width)
    second.update(values, **seen)
    along = second.along(torch.eye(width, dtype=torch.float64))
    yield "mean along a direction", _normal(along.mean, along.mean_se)
    sparse = _fires(values, valid, lengths, passages, random)
    yield "mean where a feature fires", _normal(sparse.mean.ratio, sparse.mean.se)
    yield "share", _share(kind, values, lengths, valid, random)
    yield "slope", _slope(values, valid, passages, random)


def coverage(kind, num_passages, *, draws, width, seed=0, only=STATISTICS):
    """Find how often the interval of each statistic holds the truth.

    Returns:
        The share of samples, of those where the interval is known, by statistic.
    """
    random, truths = np.random.default_rng([seed, num_passages]), kind.truths()
    hits = {name: [] for name in only}
    for _ in range(draws):
        for name, (value, low, high) in intervals(kind, num_passages, width, random):
            if name in hits:
                inside = (low <= truths[name]) & (truths[name] <= high)
                hits[name].append(inside[np.isfinite(value) & np.isfinite(high)])
    return {name: float(np.concatenate(own).mean()) for name, own in hits.items()}


def _fed(statistic, values, seen):
    statistic.update(values, **seen)
    return statistic.result()


def _normal(value, error):
    return value, value - NORMAL_95 * error, value + NORMAL_95 * error


def _fires(values, valid, lengths, passages, random):
    """Let features fire at few tokens of most passages and at many of some."""
    often = random.random((len(lengths), 1, values.shape[2])) < 0.25
    chance = np.where(often, _FIRES[1], _FIRES[0])
    fires = torch.from_numpy(random.random(values.shape) < chance) & valid[..., None]
    rows, positions, features = fires.nonzero(as_tuple=True)
    sparse = SparseMoments(values.shape[2], active_only=True, num_top=1)
    sparse.update(
        Entries(
            values=values[fires],
            features=features,
            sequences=rows,
            positions=positions,
            lengths=torch.from_numpy(lengths),
            passages=np.array(passages),
        )
    )
    return sparse.result()


def _share(kind, values, lengths, valid, random):
    """The share of one part's energy in that of two parts, as of a norm's radial part."""
    other = kind.draw(lengths, values.shape[2], random) * valid[..., None]
    part = values.square().sum(dim=1)
    ratios = Ratios(values.shape[2])
    ratios.update(part, part + other.square().sum(dim=1))
    found = ratios.result()
    return _normal(found.ratio, found.se)


def _slope(values, valid, passages, random):
    """The slope of the logarithm of a norm along depth, between percentiles of a bootstrap."""
    width, depths = values.shape[2], np.arange(NUM_DEPTHS)
    growth = np.exp(RATE * depths[::-1])
    sums = []
    for factor in growth:
        noise = torch.from_numpy(random.standard_normal(values.shape)) * values.abs().mean()
        sums.append(((values + noise) * factor * valid[..., None]).square().sum(dim=1))
    bootstrap = PoissonBootstrap(NUM_DEPTHS * width)
    bootstrap.update(torch.cat(sums, dim=1), passages)
    drawn = torch.from_numpy(bootstrap.replicates()).unflatten(1, (NUM_DEPTHS, width))
    found = depth_slope(torch.stack([each.sum(dim=0) for each in sums]), drawn)
    return tuple(end.numpy() for end in (found.slope, found.low, found.high))
