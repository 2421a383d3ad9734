"""Whether loss and head in closed form give what PyTorch and the model's own library give."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import nan

import torch
from jaxtyping import Float
from torch import Tensor

from backlight.capture.checking.check import Check, not_made
from backlight.capture.checking.difference import Difference, difference_of, relative
from backlight.capture.checking.measured import Measured, measure
from backlight.capture.checking.sample import Sample
from backlight.data.batches import Batch
from backlight.models.lending import borrowed
from backlight.models.native import Native
from backlight.models.wiring.head import Head
from backlight.objectives.objective import LossGradient, NextToken

_IGNORED = -100
_FUSED, _THEIRS = "fused head and loss", "the model's, labels="
_CLOSED = "The closed form of the loss does not agree with autograd. Please report it."
_OWN = (
    "Head and loss are not the model's own: it changes logits or its loss in a way that is not "
    "known here. Please report it with the model's name."
)


def heads(sample: Sample, reference: Measured) -> Iterator[Check]:
    """Compare loss and head with autograd's, and with the model's own logits and loss."""
    whole = measure(sample.subject, sample.batch, sample.sites, _WholeLogits())
    yield sample.judged(
        "loss in closed form",
        "PyTorch's, all logits",
        difference_of(reference, whole),
        remedy=_CLOSED,
    )
    native, reason = sample.subject.native, sample.other_rule
    if native is not None and reason is not None:
        yield not_made(_FUSED, _THEIRS, reason)
    elif native is not None:
        difference = _against_own(sample, native, reference)
        yield sample.judged(_FUSED, _THEIRS, difference, remedy=_OWN)


@dataclass(frozen=True, slots=True)
class _WholeLogits:
    """The mean next-token loss of each passage, as PyTorch computes and differentiates it."""

    def __call__(
        self, output: Float[Tensor, "batch positions width"], batch: Batch, head: Head | None
    ) -> LossGradient:
        """Compute all logits, and go back through them with autograd."""
        leaf = output.detach().requires_grad_()
        logits = leaf if head is None else head.logits(leaf)
        is_half = logits.dtype in (torch.float16, torch.bfloat16)
        labels = _labels(batch)[:, 1:]
        # One row for each token: along any other axis, PyTorch's softmax over a large vocabulary
        # loses three digits.
        losses = torch.nn.functional.cross_entropy(
            (logits.float() if is_half else logits)[:, :-1].flatten(0, 1),
            labels.flatten(),
            ignore_index=_IGNORED,
            reduction="none",
        )
        nats = losses.view_as(labels).sum(dim=1)
        value = nats / batch.predicts.sum(dim=1)
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
        return LossGradient(
            nats=nats.detach().cpu().double(),
            value=value.detach().cpu().double(),
            gradient=gradient,
        )


def _labels(batch: Batch) -> Tensor:
    counts = batch.valid if batch.counted is None else batch.valid & batch.counted
    return batch.input_ids.masked_fill(~counts, _IGNORED)


def _against_own(sample: Sample, native: Native, reference: Measured) -> Difference:
    own = replace(sample.subject, forward=native.logits, head=None)
    gradients = difference_of(reference, sample.measure(subject=own))
    labels = _against_labels(sample, native)
    return replace(gradients, loss=max(gradients.loss, 0.0 if labels != labels else labels))


def _against_labels(sample: Sample, native: Native) -> float:
    """Compare the mean loss over all predicted tokens with what the model makes of labels."""
    batch, subject = sample.batch, sample.subject
    with torch.no_grad(), borrowed(subject.model):
        loss = native.loss(batch.input_ids, batch.valid, _labels(batch))
        ours = NextToken("batch_mean")(subject.forward(batch.input_ids), batch, subject.head)
    return nan if loss is None else relative(float(ours.value.sum()), float(loss))
