"""Activations at one site over a corpus, held in memory."""

from collections.abc import Generator, Sequence
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from backlight.capture.record import record_activations
from backlight.data.batches import Batch, Passages
from backlight.errors import NonFiniteError
from backlight.models.sites import Site
from backlight.models.subject import Subject
from backlight.stats.progress import Progress


@final
class ActivationStore:
    """The activations gathered so far: float32 on the CPU, 4 bytes times tokens times width.

    Args:
        num_tokens: How many tokens there will be at most.
    """

    def __init__(self, num_tokens: int) -> None:
        self._capacity, self._num_tokens = num_tokens, 0
        self._values = torch.empty(0, 0)
        self._first = torch.empty(num_tokens, dtype=torch.bool)

    def add(self, values: Float[Tensor, "tokens width"], first: Bool[Tensor, " tokens"]) -> None:
        """Take in some tokens.

        Args:
            values: Their activations.
            first: Which of them are the first of their passage.
        """
        if not self._num_tokens:
            self._values = torch.empty(self._capacity, values.shape[1])
        place = slice(self._num_tokens, self._num_tokens + len(values))
        self._values[place] = values
        self._first[place] = first
        self._num_tokens += len(values)

    @property
    def values(self) -> Float[Tensor, "tokens width"]:
        """The activations of all tokens."""
        return self._values[: self._num_tokens]

    @property
    def first(self) -> Bool[Tensor, " tokens"]:
        """Which of them are the first of their passage."""
        return self._first[: self._num_tokens]


def store_activations(
    subject: Subject,
    site: Site,
    passages: Passages,
    batches: Sequence[Sequence[int]],
    store: ActivationStore,
    *,
    with_first: bool,
) -> Generator[Progress, None, None]:
    """Stream passages through the model, no further than the site, and keep what passes there.

    Args:
        subject: The model.
        site: Where to look.
        passages: The corpus.
        batches: The members of each batch.
        store: Where they are kept.
        with_first: Also keep the first token of each passage, whose activations are often of
            another kind.

    Yields:
        How many tokens each batch had.

    Raises:
        NonFiniteError: If an activation is NaN or infinite.
    """
    for members in batches:
        batch = Batch.of(passages, members).to(subject.device)
        values = record_activations(subject, batch, [site]).activations[site.name]
        first = torch.zeros_like(batch.valid)
        first[:, 0] = True
        kept = batch.valid if with_first else batch.valid & ~first
        if not values[kept].isfinite().all():
            raise NonFiniteError(
                f"The activations at {site.name} are not finite in one of the passages "
                f"{', '.join(map(str, members))}. Try --dtype float32 (now {values.dtype})."
            )
        store.add(values[kept].float().cpu(), first[kept].cpu())
        yield Progress(num_tokens=batch.num_tokens)
