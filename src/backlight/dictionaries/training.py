"""Learn a dictionary from activations: BatchTopK, with arithmetic as sparse as its codes.

Bussmann et al. 2024 (arXiv 2412.06410): over a batch of B tokens the k B largest features stay,
however they fall on the tokens; afterwards one threshold takes the place of that choice. On a CPU
more than half of the time is the product with the encoder: other sums run over what fires.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from backlight.dictionaries.activations import Threshold
from backlight.dictionaries.dictionary import Card, Dictionary, LinearEncoder
from backlight.dictionaries.squared_error import Parameters, gradients, largest, revival_gradients
from backlight.errors import DictionaryError, NonFiniteError

_WARM_UP, _DECAY = 0.05, 0.2
"""Shares of the steps in which the learning rate rises, and in which it falls to zero again."""

_REVIVAL_WEIGHT = 1 / 32
_REVIVED_SHARE = 0.5  # dead features that may fire at a token, as a share of the width
_MEMORY = 0.99  # what a step keeps of the running mean of the threshold
_BLOCK_TOKENS = 8192
_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStep:
    """How a step found the dictionary, on its own batch and before it changed anything.

    Attributes:
        num_tokens: Tokens in the batch.
        explained_variance: 1 - the batch's mean squared error over the variance of all activations.
        l0: Features that fire at a token, on average.
        dead_share: Share of the features that count as dead.
    """

    num_tokens: int
    explained_variance: float
    l0: float
    dead_share: float


@final
class Training:
    """A dictionary on its way: what is learned, and what is remembered from step to step.

    Inside, activations are scaled so that their mean squared norm is their width, whatever the
    model; ``dictionary`` undoes that.

    Args:
        activations: What will be learned from, on the CPU; their mean and scale are taken at once.
        num_features: How many features to learn.
        seed: Fixes the directions they start from; encoder and decoder start alike.
        device: Where to learn.

    Raises:
        NonFiniteError: If some of the activations are NaN or infinite.
        DictionaryError: If the activations are the same at all tokens.
    """

    def __init__(
        self,
        activations: Float[Tensor, "tokens width"],
        *,
        num_features: int,
        seed: int,
        device: torch.device = _CPU,
    ) -> None:
        width = activations.shape[1]
        mean, squared_norm = _mean_and_squared_norm(activations)
        if not squared_norm < float("inf"):
            raise NonFiniteError("Some of the activations are NaN or infinite: nothing is learned.")
        if squared_norm - float(mean.square().sum()) <= 1e-6 * squared_norm:
            raise DictionaryError("The activations are the same at all tokens: nothing is learned.")
        self._scale = (width / squared_norm) ** 0.5
        self._variance = width - self._scale**2 * float(mean.square().sum())
        random = torch.Generator().manual_seed(seed)
        rows = _of_norm_one(torch.randn(num_features, width, generator=random)).to(device)
        self._parameters = Parameters(
            encoder=rows.clone(),
            encoder_bias=rows.new_zeros(num_features),
            decoder=rows,
            bias=(mean * self._scale).to(rows),
        )
        self._optimizer = torch.optim.Adam(self._parameters, fused=True)
        self._threshold = 0.0
        self._idle_tokens = torch.zeros(num_features, dtype=torch.int64, device=rows.device)
        self._num_steps = 0

    @torch.no_grad()
    def step(
        self,
        activations: Float[Tensor, "tokens width"],
        *,
        k: int,
        learning_rate: float,
        dead_after: int,
    ) -> TrainingStep:
        """Learn from a batch.

        Args:
            activations: Some tokens in random order.
            k: How many features are to fire at a token, on average.
            learning_rate: Adam's.
            dead_after: A feature that did not fire at so many tokens is dead, and is revived.

        Returns:
            How well the batch was reconstructed.

        Raises:
            NonFiniteError: If the reconstruction is NaN or infinite.
        """
        now = self._parameters
        x = activations.to(now.bias) * self._scale
        codes, threshold = largest(now.pre_activations(x), k)
        error = codes.times(now.decoder) + now.bias - x
        explained = 1.0 - float(error.square().sum()) / (len(x) * self._variance)
        if not abs(explained) < float("inf"):
            raise NonFiniteError(
                f"The reconstruction is not finite after {self._num_steps} steps. Lower "
                f"--learning_rate (now {learning_rate:g})."
            )
        gradient = gradients(now, x, codes, error)
        self._idle_tokens = (self._idle_tokens + len(x)).masked_fill_(codes.counts() > 0, 0)
        dead = self._idle_tokens > dead_after
        if dead.any():
            k_dead = max(1, round(_REVIVED_SHARE * x.shape[1]))
            revival = revival_gradients(now, x, error, dead, k=k_dead)
            for own, other in zip(gradient, revival, strict=True):
                own.add_(other, alpha=_REVIVAL_WEIGHT)
        self._descend(gradient, learning_rate)
        self._remember(threshold)
        return TrainingStep(
            num_tokens=len(x),
            explained_variance=explained,
            l0=len(codes.values) / len(x),
            dead_share=float(dead.double().mean()),
        )

    def dictionary(self, card: Card, *, dtype: torch.dtype = torch.float32) -> Dictionary:
        """Return what was learned so far, for activations as they are.

        Args:
            card: What is to be said of it.
            dtype: The number format that its file will have: all numbers are rounded to it.

        Returns:
            The dictionary in float32: rows of norm one, one threshold for all features.
        """
        now, scale = self._parameters, self._scale

        def rounded(tensor: Tensor) -> Tensor:
            return tensor.to(dtype).to(tensor.dtype, copy=True)

        bias = rounded(now.bias / scale)
        threshold = bias.new_full((len(now.encoder),), self._threshold / scale)
        return Dictionary(
            encoder=LinearEncoder(
                rows=rounded(now.encoder),
                bias=rounded(now.encoder_bias / scale),
                input_bias=bias,
                activation=Threshold(threshold=rounded(threshold)),
            ),
            rows=rounded(now.decoder),
            bias=bias,
            card=card,
        )

    def _descend(self, gradient: Parameters, learning_rate: float) -> None:
        # Rows are kept at norm one, so what would only make them longer is taken out of their
        # gradient: Adam would remember it and turn it into steps that the norming undoes.
        rows = self._parameters.decoder
        along_rows = (gradient.decoder * rows).sum(dim=1, keepdim=True) * rows
        across = gradient._replace(decoder=gradient.decoder - along_rows)
        for tensor, slope in zip(self._parameters, across, strict=True):
            tensor.grad = slope
        self._optimizer.param_groups[0]["lr"] = learning_rate
        self._optimizer.step()
        rows.copy_(_of_norm_one(rows))

    def _remember(self, threshold: float) -> None:
        # The plain mean of the first steps, until it is as long as the running one.
        memory = min(_MEMORY, self._num_steps / (self._num_steps + 1))
        self._threshold = memory * self._threshold + (1.0 - memory) * threshold
        self._num_steps += 1


def train(
    activations: Float[Tensor, "tokens width"],
    state: Training,
    *,
    k: int,
    num_epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
) -> Generator[TrainingStep, None, None]:
    """Go through the activations a number of times, each time in another order.

    Leave the first token of each sequence out: what is special there is not worth a feature. A
    feature is dead when it did not fire for half an epoch, or for 50,000 tokens if that is less.

    Args:
        activations: What to learn from, as ``state`` was given it; nothing is learned if it has
            fewer tokens than ``batch_size``.
        state: What is learned; it is changed.
        k: How many features are to fire at a token, on average.
        num_epochs: How often.
        batch_size: Tokens in a batch; those that do not fill one wait for the next epoch.
        learning_rate: Adam's, at its highest: it rises over the first twentieth of the steps and
            falls to zero over the last fifth.
        seed: Fixes the orders.

    Yields:
        How each step went.
    """
    random = torch.Generator().manual_seed(seed)
    num_batches = len(activations) // batch_size
    dead_after = min(50_000, len(activations) // 2)
    for epoch in range(num_epochs):
        order = torch.randperm(len(activations), generator=random)
        for batch in range(num_batches):
            done = (epoch + (batch + 0.5) / num_batches) / num_epochs
            yield state.step(
                activations[order[batch * batch_size :][:batch_size]],
                k=k,
                learning_rate=learning_rate * _pace(done),
                dead_after=dead_after,
            )


def _pace(done: float) -> float:
    """Scale the learning rate by how much of the training is done, from 0 to 1."""
    return min(1.0, done / _WARM_UP, (1.0 - done) / _DECAY)


def _mean_and_squared_norm(
    activations: Float[Tensor, "tokens width"],
) -> tuple[Float[Tensor, " width"], float]:
    total, squares = torch.zeros(activations.shape[1], dtype=torch.float64), 0.0
    for block in activations.split(_BLOCK_TOKENS):
        total += block.sum(dim=0)
        squares += float(block.square().sum())
    return total / len(activations), squares / len(activations)


def _of_norm_one(rows: Float[Tensor, "features width"]) -> Float[Tensor, "features width"]:
    return rows / rows.norm(dim=1, keepdim=True)
