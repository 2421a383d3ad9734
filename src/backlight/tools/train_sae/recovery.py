"""How much of a model's loss survives when a dictionary's reconstruction takes a site's place."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from backlight.capture.record import record_activations
from backlight.capture.splice import splicing
from backlight.data.batches import Batch, Passages
from backlight.dictionaries.dictionary import Dictionary
from backlight.models.sites import Site
from backlight.models.subject import Subject
from backlight.objectives.objective import NextToken


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """The loss with three tensors at one site, in nats per predicted token.

    Attributes:
        clean: With the model's own.
        spliced: With the reconstruction, at every token, the first of each passage too.
        zeroed: With zeros.
        num_tokens: How many tokens were predicted.
    """

    clean: float
    spliced: float
    zeroed: float
    num_tokens: int

    @property
    def share(self) -> float:
        """1 if the reconstruction costs nothing, 0 if it costs as much as zeros."""
        return (self.zeroed - self.spliced) / (self.zeroed - self.clean)


@torch.no_grad()
def measure_recovery(
    subject: Subject,
    site: Site,
    dictionary: Dictionary,
    passages: Passages,
    batches: Sequence[Sequence[int]],
) -> Recovery:
    """Compute the loss of some passages as they are, with the reconstruction, and with zeros.

    Args:
        subject: The model.
        site: The site that the dictionary reads and writes.
        dictionary: The dictionary.
        passages: The corpus.
        batches: The members of each batch.

    Returns:
        The three losses.
    """
    nats, num_tokens = dict.fromkeys(("clean", "spliced", "zeroed"), 0.0), 0
    for members in batches:
        batch = Batch.of(passages, members).to(subject.device)
        own = record_activations(subject, batch, [site]).activations[site.name]
        flat = own.flatten(0, 1).to(dictionary.rows)
        output = dictionary.decode(dictionary.encode(flat), flat).to(own).view_as(own)
        for name, tensor in zip(nats, (own, output, torch.zeros_like(own)), strict=True):
            nats[name] += _nats(subject, site, batch, tensor)
        num_tokens += batch.num_tokens - len(members)
    losses = {name: value / num_tokens for name, value in nats.items()}
    return Recovery(**losses, num_tokens=num_tokens)


def _nats(
    subject: Subject, site: Site, batch: Batch, replacement: Float[Tensor, "batch positions width"]
) -> float:
    with splicing(subject, {site.name: replacement}):
        output = subject.forward(batch.input_ids)
    loss = NextToken("token_sum")(output, batch, subject.head)
    return float(loss.nats.sum())
