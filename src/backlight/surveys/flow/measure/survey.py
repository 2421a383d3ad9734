"""The survey of `backlight flow`: one forward and one backward a batch, seen in several ways."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from backlight.capture.attention import keeping_attention
from backlight.capture.finite import check_finite
from backlight.capture.record import record
from backlight.capture.tape import Tape
from backlight.data.batches import Batch, Passages
from backlight.models.sites import Site
from backlight.models.subject import AttentionCall, Subject
from backlight.objectives.objective import NextToken, Reduction
from backlight.stats.base import State, taken, under
from backlight.surveys.flow.measure.attention import AttentionView
from backlight.surveys.flow.measure.norms import NormView
from backlight.surveys.flow.measure.residual import ResidualView
from backlight.surveys.flow.measure.view import View
from backlight.surveys.layers.measure.profile import Progress
from backlight.tables import Table

ViewName = Literal["norms", "attention", "residual"]

VIEWS: Mapping[ViewName, Callable[[Subject, Sequence[int]], View]] = {
    "norms": NormView,
    "attention": AttentionView,
    "residual": ResidualView,
}
"""What makes each view of some layers; it raises UnsupportedSiteError if the model has none."""


@final
class Flow:
    """All that was seen so far, in every view.

    Attributes:
        views: The views, by name.
        num_batches: How many batches are in them.
        nats: The cross-entropy of all predicted tokens, summed.
        num_predicted: How many tokens were predicted.
    """

    def __init__(self, views: Mapping[ViewName, View]) -> None:
        """Start with nothing seen.

        Args:
            views: The views, fresh from ``VIEWS``.
        """
        self.views = views
        self.num_batches = 0
        self.nats = 0.0
        self.num_predicted = 0

    def state(self) -> dict[str, NDArray[Any]]:
        """Give everything as plain arrays; ``restore`` takes them back bit by bit."""
        counts = np.array([self.num_batches, self.num_predicted], dtype=np.int64)
        parts = {
            f"{name}/{key}": array
            for name, view in self.views.items()
            for key, array in view.state().items()
        }
        return {**parts, "counts": counts, "nats": np.array(self.nats)}

    def restore(self, state: State) -> None:
        """Take over a state."""
        for name, view in self.views.items():
            view.restore(under(name, state))
        counts = taken(state, "counts", np.zeros(2, dtype=np.int64))
        self.num_batches, self.num_predicted = (int(count) for count in counts)
        self.nats = float(taken(state, "nats", np.zeros(())))

    def merge(self, other: "Flow") -> None:
        """Take in what another, of the same views and layers, has seen of other passages."""
        for name, view in self.views.items():
            view.merge(other.views[name])
        self.num_batches += other.num_batches
        self.nats += other.nats
        self.num_predicted += other.num_predicted

    def tables(self) -> list[Table]:
        """Tabulate every view."""
        return [table for view in self.views.values() for table in view.tables()]


def survey_flow(
    subject: Subject,
    passages: Passages,
    batches: Sequence[Sequence[int]],
    state: Flow,
    *,
    reduction: Reduction = "sequence_mean",
) -> Generator[Progress, None, None]:
    """Stream a corpus through the model, adding each batch to all views.

    Args:
        subject: The model.
        passages: The corpus.
        batches: The members of each batch; those already in the state are left out.
        state: What was seen before; it is added to.
        reduction: How tokens and sequences are weighed in the loss.

    Yields:
        How far it has come, after each batch.

    Raises:
        NonFiniteError: If the loss, a gradient or an activation is NaN or infinite.
        FamilyProofError: If a norm is not what the table of families says.
        UnsupportedSiteError: If attention has a mask that is not causality and a window.
    """
    views = list(state.views.values())
    sites = list({site.name: site for view in views for site in view.sites}.values())
    for members in batches[state.num_batches :]:
        batch = Batch.of(passages, members).to(subject.device)
        tape, calls = _record(subject, batch, sites, views, reduction)
        for view in views:
            view.update(tape, calls)
        assert tape.nats is not None
        state.nats += float(tape.nats.sum())
        state.num_predicted += batch.num_tokens - len(batch.passages)
        state.num_batches += 1
        yield Progress(state.num_batches, batch.num_tokens)


def _record(
    subject: Subject,
    batch: Batch,
    sites: Sequence[Site],
    views: Sequence[View],
    reduction: Reduction,
) -> tuple[Tape, Mapping[int, AttentionCall]]:
    kept = {name for view in views for name in view.kept}
    layers = [layer for view in views for layer in view.attention_layers]
    nothing: dict[int, AttentionCall] = {}
    with keeping_attention(subject, layers) if layers else nullcontext(nothing) as calls:
        tape = record(subject, batch, sites, objective=NextToken(reduction), keep_activations=kept)
    for site in sites:
        check_finite(tape.gradients[site.name], site.name, batch, "gradients")
    for name in kept:
        check_finite(tape.activations[name], name, batch, "values")
    return tape, calls
