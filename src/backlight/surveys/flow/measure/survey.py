"""The survey of `backlight flow`: one forward and one backward a batch, seen in several ways."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import nullcontext
from typing import Literal, final

from backlight.capture.attention import keeping_attention
from backlight.capture.finite import check_finite
from backlight.capture.record import record
from backlight.capture.tape import Tape
from backlight.data.batches import Batch, Passages
from backlight.models.subject import AttentionCall, Subject
from backlight.objectives.objective import NextToken, Reduction
from backlight.stats.base import Sums
from backlight.stats.loss import CorpusLoss
from backlight.stats.progress import Progress
from backlight.surveys.flow.measure.attention import AttentionView
from backlight.surveys.flow.measure.norms import NormView
from backlight.surveys.flow.measure.residual import ResidualView
from backlight.surveys.flow.measure.view import View

ViewName = Literal["norms", "attention", "residual"]

VIEWS: Mapping[ViewName, Callable[[Subject, Sequence[int]], View]] = {
    "norms": NormView,
    "attention": AttentionView,
    "residual": ResidualView,
}
"""What makes each view of some layers; it raises UnsupportedSiteError if the model has none."""


@final
class Flow(Sums):
    """All that was seen so far, in every view.

    Attributes:
        views: The views, by name.
        loss: The loss, and how many batches were seen.
    """

    def __init__(self, views: Mapping[ViewName, View]) -> None:
        """Start with nothing seen.

        Args:
            views: The views, fresh from ``VIEWS``.
        """
        self.views, self.loss = views, CorpusLoss()
        super().__init__(parts={**views, "loss": self.loss})

    def update(self, tape: Tape, calls: Mapping[int, AttentionCall]) -> None:
        """Take in a batch.

        Args:
            tape: With what every view needs.
            calls: What attended, by layer.
        """
        for view in self.views.values():
            view.update(tape, calls)
        self.loss.update(tape.nats, tape.batch.num_predicted)


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
    layers = [layer for view in views for layer in view.attention_layers]
    norms = list({site.name: site for view in views for site in view.norms}.values())
    nothing: dict[int, AttentionCall] = {}
    for members in batches[state.loss.num_batches :]:
        batch = Batch.of(passages, members).to(subject.device)
        kept = {name for view in views for name in view.kept}
        with keeping_attention(subject, layers) if layers else nullcontext(nothing) as calls:
            tape = record(
                subject,
                batch,
                sites,
                objective=NextToken(reduction),
                keep_activations=kept,
                norms=norms,
            )
        for site in sites:
            check_finite(tape.gradients[site.name], site.name, batch, "gradients")
        for name in kept:
            check_finite(tape.activations[name], name, batch, "values")
        state.update(tape, calls)
        yield Progress(num_tokens=batch.num_tokens)
