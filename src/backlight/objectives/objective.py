"""What is differentiated, and the next-token cross-entropy in closed form, never all its logits.

With hidden states h, head ``y = c tanh(a (W h + b) / c)``, p = softmax(y) and a target t, the loss
of one token is ``-log p_t`` nats, and its gradient ``dL/dh = a (1 - (y/c)^2) (p - onehot_t) W``
(without a cap, the factor in y is 1). Tokens are taken in chunks, so that the memory is that of one
chunk of logits, whatever the batch; no graph is built.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from backlight.data.batches import Batch
from backlight.models.wiring.head import Head
from backlight.objectives.curvature import loss_curvature

Reduction = Literal["sequence_mean", "token_sum", "batch_mean"]
"""``sequence_mean``: each sequence's own mean over its predicted tokens, summed over sequences, so
that a gradient does not depend on who else is in the batch. ``token_sum``: the sum over predicted
tokens. ``batch_mean``: the mean over all predicted tokens of the batch, as
``model(..., labels=...).loss`` gives on unpadded text; its gradients shrink as batches grow."""

_CHUNK_ELEMENTS = 1 << 23


@dataclass(frozen=True, slots=True, kw_only=True)
class LossGradient:
    """The loss of a batch and where its gradient enters the model.

    Attributes:
        nats: The cross-entropy of each sequence in nats, summed over predicted tokens, float64.
        value: What is differentiated, sequence by sequence, float64: their sum is the scalar whose
            gradient this is. For a loss it is the reduced loss.
        gradient: Gradient of that scalar at the model's output (the head's input, or the logits),
            zero where nothing is predicted.
    """

    nats: Float[Tensor, " batch"]
    value: Float[Tensor, " batch"]
    gradient: Float[Tensor, "batch positions width"]


@runtime_checkable
class Objective(Protocol):
    """A scalar of a batch, with its gradient at the model's output."""

    def __call__(
        self, output: Float[Tensor, "batch positions width"], batch: Batch, head: Head | None
    ) -> LossGradient:
        """Compute it; ``output`` is what the head reads, or the logits if there is no head."""
        ...


@runtime_checkable
class Valued(Objective, Protocol):
    """An objective whose value can also be had without the cost of its gradient."""

    def value(
        self, output: Float[Tensor, "batch positions width"], batch: Batch, head: Head | None
    ) -> Float[Tensor, " batch"]:
        """Compute the value of each sequence, float64: the ``value`` of its ``LossGradient``."""
        ...


@runtime_checkable
class Curved(Objective, Protocol):
    """An objective that also knows how its gradient at the model's output changes with it."""

    def curvature(
        self,
        output: Float[Tensor, "batch positions width"],
        batch: Batch,
        head: Head | None,
        direction: Float[Tensor, "batch positions width"],
    ) -> Float[Tensor, "batch positions width"]:
        """Multiply its Hessian at ``output`` with a direction."""
        ...


@dataclass(frozen=True, slots=True)
class NextToken:
    """The loss of predicting tokens from those before them: all but the first, or those that count.

    Which count is the batch's: ``Batch.predicts``. Pads never do.

    Attributes:
        reduction: How tokens and sequences are weighed in the gradient.
    """

    reduction: Reduction = "sequence_mean"

    def __call__(
        self, output: Float[Tensor, "batch positions width"], batch: Batch, head: Head | None
    ) -> LossGradient:
        """Compute the loss of each sequence and the gradient at ``output``."""
        weights = token_weights(batch, self.reduction)
        return predicted_loss(output, batch, batch.predicts, weights, head=head)

    def value(
        self, output: Float[Tensor, "batch positions width"], batch: Batch, head: Head | None
    ) -> Float[Tensor, " batch"]:
        """Compute the reduced loss of each sequence, without a gradient."""
        weights = token_weights(batch, self.reduction)
        return predicted_value(output, batch, batch.predicts, weights, head=head)

    def curvature(
        self,
        output: Float[Tensor, "batch positions width"],
        batch: Batch,
        head: Head | None,
        direction: Float[Tensor, "batch positions width"],
    ) -> Float[Tensor, "batch positions width"]:
        """Multiply the Hessian of the reduced loss at ``output`` with a direction."""
        weights = token_weights(batch, self.reduction)
        return predicted_curvature(output, batch, batch.predicts, weights, direction, head=head)


def predicted_loss(
    output: Float[Tensor, "batch positions width"],
    batch: Batch,
    predicts: Bool[Tensor, "batch targets"],
    weights: Float[Tensor, " chosen"],
    *,
    head: Head | None,
) -> LossGradient:
    """Compute the loss of predicting some tokens from those before them, and its gradient.

    Args:
        output: What the model gives: hidden states if there is a head, else logits.
        batch: The tokens.
        predicts: Which tokens are predicted, from the second of each sequence on.
        weights: How much the loss of each of these counts, sequence after sequence.
        head: The language-model head, None if ``output`` holds logits.

    Returns:
        The loss of each sequence and the gradient at ``output``.
    """
    rows, targets = _predicted(output, batch, predicts)
    losses, gradients = [], []
    for part in chunks(output, len(rows), head):
        loss, gradient = _chunk(rows[part], targets[part], weights[part], head)
        losses.append(loss)
        gradients.append(gradient)
    gradient = torch.zeros_like(output)
    gradient[:, :-1][predicts] = torch.cat(gradients)
    nats, weighted = _by_sequence(losses, predicts, weights)
    return LossGradient(nats=nats.sum(dim=1), value=weighted.sum(dim=1), gradient=gradient)


def predicted_value(
    output: Float[Tensor, "batch positions width"],
    batch: Batch,
    predicts: Bool[Tensor, "batch targets"],
    weights: Float[Tensor, " chosen"],
    *,
    head: Head | None,
) -> Float[Tensor, " batch"]:
    """Compute the weighted loss of predicting some tokens, without its gradient.

    Args:
        output: What the model gives: hidden states if there is a head, else logits.
        batch: The tokens.
        predicts: Which tokens are predicted, from the second of each sequence on.
        weights: How much the loss of each of these counts, sequence after sequence.
        head: The language-model head, None if ``output`` holds logits.

    Returns:
        The weighted loss of each sequence, float64; the same bits as ``predicted_loss`` finds.
    """
    rows, targets = _predicted(output, batch, predicts)
    losses = [
        _losses(_logits(rows[part], head), targets[part])[1]
        for part in chunks(output, len(rows), head)
    ]
    return _by_sequence(losses, predicts, weights)[1].sum(dim=1)


def predicted_curvature(
    output: Float[Tensor, "batch positions width"],
    batch: Batch,
    predicts: Bool[Tensor, "batch targets"],
    weights: Float[Tensor, " chosen"],
    direction: Float[Tensor, "batch positions width"],
    *,
    head: Head | None,
) -> Float[Tensor, "batch positions width"]:
    """Multiply the Hessian of the weighted loss of predicting some tokens with a direction.

    Args:
        output: What the model gives: hidden states if there is a head, else logits.
        batch: The tokens.
        predicts: Which tokens are predicted, from the second of each sequence on.
        weights: How much the loss of each of these counts, sequence after sequence.
        direction: A direction at ``output``.
        head: The language-model head, None if ``output`` holds logits.

    Returns:
        How fast the gradient of ``predicted_loss`` changes where ``output`` moves that way.
    """
    rows, targets = _predicted(output, batch, predicts)
    directions = direction[:, :-1][predicts]
    products = [torch.zeros_like(rows[:0])]
    for part in chunks(output, len(rows), head):
        logits = _logits(rows[part], head)
        log_normaliser = logits.logsumexp(dim=1, keepdim=True)
        product = loss_curvature(logits, log_normaliser, targets[part], directions[part], head)
        products.append(product * weights[part, None].to(product))
    curved = torch.zeros_like(output)
    curved[:, :-1][predicts] = torch.cat(products)
    return curved


def chunks(output: Tensor, num_rows: int, head: Head | None) -> Iterator[slice]:
    """Cut rows into parts whose logits fit into one chunk of memory."""
    size = max(1, _CHUNK_ELEMENTS // (output.shape[-1] if head is None else len(head.weight)))
    for start in range(0, num_rows, size):
        yield slice(start, start + size)


def token_weights(batch: Batch, reduction: Reduction) -> Float[Tensor, " targets"]:
    """Find how much each predicted token's loss counts in the reduced loss.

    Args:
        batch: The tokens.
        reduction: See ``Reduction``.

    Returns:
        One weight for each predicted token, sequence after sequence, float64.
    """
    predicted = batch.predicts.sum(dim=1)
    if reduction == "sequence_mean":
        per_sequence = 1 / predicted.cpu().double()
    elif reduction == "token_sum":
        per_sequence = torch.ones(len(predicted), dtype=torch.float64)
    else:
        per_sequence = (1 / predicted.sum().cpu().double()).expand(len(predicted))
    return per_sequence.repeat_interleave(predicted.cpu()).to(batch.lengths.device)


def _predicted(
    output: Float[Tensor, "batch positions width"],
    batch: Batch,
    predicts: Bool[Tensor, "batch targets"],
) -> tuple[Float[Tensor, "chosen width"], Int[Tensor, " chosen"]]:
    """List what each predicted token is predicted from, and which token it is."""
    return output.detach()[:, :-1][predicts], batch.input_ids[:, 1:][predicts]


def _by_sequence(
    losses: Sequence[Float[Tensor, " _"]],
    predicts: Bool[Tensor, "batch targets"],
    weights: Float[Tensor, " chosen"],
) -> tuple[Float[Tensor, "batch targets"], Float[Tensor, "batch targets"]]:
    """Lay losses out by sequences, as they are and weighted; 0 where nothing is predicted."""
    nats = torch.zeros(predicts.shape, dtype=torch.float64)
    nats[predicts.cpu()] = torch.cat(list(losses)).cpu().double()
    weighted = torch.zeros_like(nats)
    weighted[predicts.cpu()] = weights.cpu().double()
    return nats, nats * weighted


def _chunk(
    rows: Float[Tensor, "targets width"],
    targets: Int[Tensor, " targets"],
    weights: Float[Tensor, " targets"],
    head: Head | None,
) -> tuple[Float[Tensor, " targets"], Float[Tensor, "targets width"]]:
    """Compute loss and gradient of a few tokens."""
    logits = _logits(rows, head)
    log_normaliser, losses = _losses(logits, targets)

    # From the loss back to the hidden states: p - onehot, the token's weight, the slope of the cap
    # c tanh(./c), which is 1 - (y/c)^2 in its own output, the head's scale, and its weights.
    target = targets[:, None]
    slope = (logits - log_normaliser).exp_()
    slope.scatter_add_(1, target, torch.full_like(target, -1, dtype=slope.dtype))
    slope *= weights.to(slope)[:, None]
    if head is None:
        return losses, slope.to(rows)
    if head.cap is not None:
        slope *= 1 - (logits / head.cap).square()
    if head.scale != 1.0:
        slope *= head.scale
    return losses, slope.to(head.weight) @ head.weight


def _logits(
    rows: Float[Tensor, "targets width"], head: Head | None
) -> Float[Tensor, "targets vocabulary"]:
    """Compute the logits of a few tokens; half-precision logits are raised to float32."""
    logits = rows if head is None else head.logits(rows)
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def _losses(
    logits: Float[Tensor, "targets vocabulary"], targets: Int[Tensor, " targets"]
) -> tuple[Float[Tensor, "targets 1"], Float[Tensor, " targets"]]:
    """Compute the logarithm of each token's normaliser, and its loss."""
    # logsumexp takes the largest logit out before it exponentiates, so nothing overflows, and loss
    # and softmax share it: log p = y - log_normaliser is at most 0 and its exp at most 1. A target
    # whose p is below the smallest number still has its true loss, where -log(softmax) is infinite.
    log_normaliser = logits.logsumexp(dim=1, keepdim=True)
    return log_normaliser, (log_normaliser - logits.gather(1, targets[:, None]))[:, 0]
