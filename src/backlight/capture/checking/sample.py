"""The small sample on which a model's numbers are checked: a few ragged passages, a few layers."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from backlight.capture.checking.check import ROUNDING, Check, judged
from backlight.capture.checking.difference import Difference
from backlight.capture.checking.measured import Measured, measure
from backlight.data.batches import Batch, Passages
from backlight.models.formats import format_of, name_of
from backlight.models.sites import Site, layer_of
from backlight.models.subject import Subject
from backlight.objectives.objective import NextToken

NUM_PASSAGES = 4
"""Passages of a sample."""

_FEWEST = 2  # tokens of a passage
_NUM_LAYERS = 3
_HALF_BYTES = 2
_NOT_REPLACED = ("query", "key", "value")
_OBJECTIVE = NextToken("sequence_mean")  # a passage's gradient does not depend on its batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What is compared, and of which model.

    Attributes:
        subject: The model, as it is used; nobody may have borrowed it.
        passages: Four passages of different lengths.
        sites: Where gradients are compared: everywhere in the first, the middle and the last layer,
            and outside of layers.
        seed: Determines which sites are chosen where not all are.
        dtype: The number format of the model's weights.
    """

    subject: Subject
    passages: Passages
    sites: Sequence[Site]
    seed: int
    dtype: torch.dtype = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", format_of(self.subject.model))

    @staticmethod
    def of(subject: Subject, passages: Passages, *, max_length: int, seed: int) -> "Sample":
        """Take a sample of a text.

        Args:
            subject: The model.
            passages: The text, of which the first passages are taken (over again if there are
                fewer than four), each cut to another length: its beginning, or, where the loss
                counts some tokens only, what stands around the first of them.
            max_length: The longest, in tokens.
            seed: Determines which sites are chosen where not all are.

        Returns:
            The sample.
        """
        cut = _some(passages, [_cut(max_length, number) for number in range(NUM_PASSAGES)])
        sites = _chosen(list(subject.sites.values()), subject.num_layers)
        return Sample(subject=subject, passages=cut, sites=sites, seed=seed)

    @property
    def batch(self) -> Batch:
        """All passages side by side, on the model's device."""
        return self.batch_of(range(NUM_PASSAGES))

    @property
    def short_batch(self) -> Batch:
        """The two shortest passages side by side, for what takes many passes."""
        return self.batch_of(range(NUM_PASSAGES - 2, NUM_PASSAGES))

    @property
    def objective(self) -> NextToken:
        """What is differentiated: each passage's mean loss, so that batches do not matter."""
        return _OBJECTIVE

    @property
    def replaceable(self) -> list[Site]:
        """The sites at which another tensor can take the place of the one that passes."""
        return [
            site
            for site in self.sites
            if site.tap.side not in _NOT_REPLACED and not site.tap.inside
        ]

    def batch_of(self, members: Sequence[int]) -> Batch:
        """Lay some of the passages side by side, on the model's device."""
        return Batch.of(self.passages, members).to(self.subject.device)

    def measure(
        self, *, subject: Subject | None = None, sites: Sequence[Site] | None = None
    ) -> Measured:
        """Run all passages in one batch, through the model or one that stands for it."""
        return measure(
            self.subject if subject is None else subject,
            self.batch,
            self.sites if sites is None else sites,
            _OBJECTIVE,
        )

    @property
    def other_rule(self) -> str | None:
        """Why gradients are no derivatives: they go back by another rule; None if they are."""
        rule = self.subject.facts.get("backward", "true")
        return None if rule == "true" else f"gradients go back by the rule {rule}, no derivative"

    def judged(self, what: str, against: str, difference: Difference, *, remedy: str) -> Check:
        """Judge a difference of two ways that do the same in another order.

        Args:
            what: What was compared.
            against: With what.
            difference: How far it is apart.
            remedy: What to do if it is more than the number format explains.

        Returns:
            The check.
        """
        is_half = self.dtype.itemsize <= _HALF_BYTES
        doubt = f"{name_of(self.dtype)} may explain it: check in float32 too. " if is_half else ""
        return judged(what, against, difference, ROUNDING[self.dtype], remedy=doubt + remedy)

    def some(self, sites: Sequence[Site], number: int) -> list[Site]:
        """Choose a few sites by chance, in the model's order."""
        random = np.random.default_rng(self.seed)
        size = min(number, len(sites))
        places = sorted(random.choice(len(sites), size, replace=False).tolist())
        return [sites[place] for place in places]


def _cut(max_length: int, number: int) -> int:
    return max(_FEWEST, max_length - number * max_length // NUM_PASSAGES)


def _some(passages: Passages, lengths: Sequence[int]) -> Passages:
    """Cut the first passages, over again if there are too few, to the given lengths."""
    members = [number % len(passages.tokens) for number in range(len(lengths))]
    own = [
        (member, _window(passages, member, length))
        for member, length in zip(members, lengths, strict=True)
    ]
    counted = passages.counted
    return Passages(
        tokens=[passages.tokens[member][window] for member, window in own],
        counted=None if counted is None else [counted[member][window] for member, window in own],
    )


def _window(passages: Passages, member: int, length: int) -> slice:
    """Choose the beginning of a passage; where some tokens count, what is around the first."""
    if passages.counted is None:
        return slice(length)
    # Of the window, all but the first token are predicted, and the middle one counts.
    first = int(np.flatnonzero(passages.counted[member][1:])[0]) + 1
    begin = max(0, first - length // 2)
    return slice(begin, begin + length)


def _chosen(sites: Sequence[Site], num_layers: int) -> list[Site]:
    layers = {*np.linspace(0, max(num_layers - 1, 0), _NUM_LAYERS).astype(int).tolist(), None}
    return [
        site
        for site in sites
        if layer_of(site.name) in layers and site.problem is None and site.tap.side != "logits"
    ]
