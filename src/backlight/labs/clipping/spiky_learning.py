"""A small network that learns from labels with heavy-tailed noise, and ways to clip gradients."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import optimize
from torch import Tensor, nn

from backlight.labs.clipping.options import ClippingConfig

Method = Literal["none", "global norm", "each parameter", "value"]
METHODS: tuple[Method, ...] = ("none", "global norm", "each parameter", "value")
"""The ways to clip."""

_NUM_INPUTS, _WIDTH, _NUM_TESTS = 10, 32, 256

Gradient = Sequence[Tensor]


@dataclass(frozen=True, slots=True)
class Clip:
    """Clips a gradient, by torch's own functions.

    Attributes:
        method: How.
        threshold: From which norm, or value.
    """

    method: Method
    threshold: float

    def __call__(self, gradient: Gradient) -> list[Tensor]:
        """Clip.

        Args:
            gradient: One tensor for each parameter; it is not changed.

        Returns:
            What is left of each.
        """
        if self.method == "none":
            return list(gradient)
        holders = [torch.zeros_like(part) for part in gradient]
        for holder, part in zip(holders, gradient, strict=True):
            holder.grad = part.clone()
        if self.method == "value":
            nn.utils.clip_grad_value_(holders, self.threshold)
        else:
            groups = [holders] if self.method == "global norm" else [[each] for each in holders]
            for group in groups:
                nn.utils.clip_grad_norm_(group, self.threshold)
        return [cast("Tensor", holder.grad) for holder in holders]


def flat(gradient: Gradient) -> Float[Tensor, " entries"]:
    """Lay all parameters' gradients end to end."""
    return torch.cat([part.flatten() for part in gradient])


def part_norms(gradient: Iterable[Tensor]) -> Float[Tensor, " parts"]:
    """Compute the norm of each parameter's gradient."""
    return torch.stack([torch.linalg.vector_norm(part) for part in gradient])


def match_thresholds(pilots: Sequence[Gradient], clip_at: float) -> dict[Method, float]:
    """Find thresholds with which all methods leave the same mean length of some gradients.

    Args:
        pilots: The gradients.
        clip_at: The global norm from which is clipped, in medians of the gradients' norms.

    Returns:
        The threshold of each method; infinity for none.
    """
    values = torch.stack([flat(gradient) for gradient in pilots])
    lengths = part_norms(values)
    limit = clip_at * lengths.median().item()
    wanted = lengths.clamp_max(limit).mean().item()

    def excess(log_threshold: float, sizes: Tensor) -> float:
        left = sizes.abs().clamp_max(np.exp(log_threshold))
        return torch.linalg.vector_norm(left, dim=1).mean().item() - wanted

    def match(sizes: Tensor) -> float:
        top = np.log(sizes.abs().max().item())
        if excess(top, sizes) <= 0:  # nothing was clipped
            return float(np.exp(top))
        return float(np.exp(cast("float", optimize.brentq(excess, -60, top, args=(sizes,)))))

    return {
        "none": np.inf,
        "global norm": limit,
        "each parameter": match(torch.stack([part_norms(gradient) for gradient in pilots])),
        "value": match(values),
    }


def cosine(first: Gradient, second: Gradient) -> float:
    """Compute the cosine of two gradients, all parameters together."""
    a, b = flat(first), flat(second)
    return (torch.dot(a, b) / (torch.linalg.vector_norm(a) * torch.linalg.vector_norm(b))).item()


class SpikyTask:
    """A teacher, noisy labels, and a student of 10, 32, 32 and 1 units that learns by SGD.

    The same seed gives the same teacher, first weights and batches to every method.
    """

    def __init__(self, config: ClippingConfig, seed: int, device: torch.device) -> None:
        self.config, self.seed, self.device = config, seed, device
        self.teacher = self.network(1)
        self._start()
        self.tests = torch.randn(_NUM_TESTS, _NUM_INPUTS, dtype=torch.float64).to(device)
        self.answers = self.teacher(self.tests).detach()
        self._start()

    def network(self, number: int = 0) -> nn.Sequential:
        """Make a student at its first weights, or, of another number, the teacher."""
        torch.manual_seed(2 * self.seed + number)
        hidden = (nn.Linear(_NUM_INPUTS, _WIDTH), nn.Tanh(), nn.Linear(_WIDTH, _WIDTH), nn.Tanh())
        return nn.Sequential(*hidden, nn.Linear(_WIDTH, 1)).double().to(self.device)

    def gradient(self, student: nn.Sequential) -> list[Tensor]:
        """Draw the next batch and differentiate its loss.

        Args:
            student: The network.

        Returns:
            The gradient, a tensor for each parameter.
        """
        size = self.config.batch_size
        x = torch.as_tensor(self._chance.standard_normal((size, _NUM_INPUTS))).to(self.device)
        noise = self._chance.standard_t(self.config.degrees_of_freedom, (size, 1))
        labels = self.teacher(x).detach() + self.config.noise * torch.as_tensor(noise).to(x)
        loss = (student(x) - labels).square().mean()
        return list(torch.autograd.grad(loss, list(student.parameters())))

    def learn(self, clip: Clip) -> dict[str, NDArray[np.float64]]:
        """Train a student from its first weights, with the batches from the first.

        Args:
            clip: What is done to each gradient.

        Returns:
            For each step the ``error`` before it on inputs without noise, the ``length`` of the
            clipped gradient, what share was ``kept`` of its length, and the ``cosine`` with it;
            infinity and NaN after a divergence.
        """
        self._start()
        student, steps = self.network(), self.config.num_steps
        found = {name: np.full(steps, np.nan) for name in ("length", "kept", "cosine")}
        found["error"] = np.full(steps, np.inf)
        for step in range(steps):
            with torch.no_grad():
                error = (student(self.tests) - self.answers).square().mean().item()
            raw = self.gradient(student)
            length = _length(raw)
            if not np.isfinite([error, length]).all():
                break
            clipped = clip(raw)
            found["error"][step], found["length"][step] = error, _length(clipped)
            found["kept"][step] = found["length"][step] / length
            found["cosine"][step] = cosine(clipped, raw)
            with torch.no_grad():
                for weight, part in zip(student.parameters(), clipped, strict=True):
                    weight -= self.config.learning_rate * part
        return found

    def _start(self) -> None:
        self._chance = np.random.default_rng(self.seed)
        torch.manual_seed(self.seed)


def _length(gradient: Gradient) -> float:
    return torch.stack([part.square().sum() for part in gradient]).sum().sqrt().item()
