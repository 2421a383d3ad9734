"""How the gradient of a next-token loss changes with the hidden state: the head's second order.

With hidden states h, head ``y = c tanh(a (W h + b) / c)``, p = softmax(y) and a target t, the
Hessian of the loss of one token times a direction u is

    W' a [s (diag(p) - p p') s + (p - onehot_t) s'] a W u,

where ``s = 1 - (y/c)^2`` is the slope of the cap and ``s' = -2 (y/c) s / c`` how that changes (1
and 0 without a cap). The first term is the Gauss-Newton matrix of the head, the second is there for
a cap only.
"""

from jaxtyping import Float, Int
from torch import Tensor

from backlight.models.wiring.head import Head


def loss_curvature(
    logits: Float[Tensor, "targets vocabulary"],
    log_normaliser: Float[Tensor, "targets 1"],
    targets: Int[Tensor, " targets"],
    directions: Float[Tensor, "targets width"],
    head: Head | None,
) -> Float[Tensor, "targets width"]:
    """Multiply the Hessian of each token's loss, at what its logits are from, with a direction.

    Args:
        logits: Of each token, at least float32.
        log_normaliser: The logarithm of the sum of their exponentials.
        targets: The token that is predicted.
        directions: The direction at the hidden states; at the logits if there is no head.
        head: The language-model head, None if what is differentiated are the logits.

    Returns:
        The products, in the number format of the directions.
    """
    if head is None:
        shift = directions.to(logits)
    else:
        shift = (directions.to(head.weight) @ head.weight.mT).to(logits) * head.scale
    probabilities = (logits - log_normaliser).exp_()
    if head is None:
        return _softmax_curvature(probabilities, shift).to(directions)
    if head.cap is None:
        moved = _softmax_curvature(probabilities, shift)
    else:
        bent = logits / head.cap
        slope = 1 - bent.square()
        moved = slope * _softmax_curvature(probabilities, slope * shift)
        residual = probabilities.scatter_add_(
            1, targets[:, None], -probabilities.new_ones(len(targets), 1)
        )
        moved -= residual * (2 / head.cap * bent * slope * shift)
    return ((moved * head.scale).to(head.weight) @ head.weight).to(directions)


def _softmax_curvature(
    probabilities: Float[Tensor, "targets vocabulary"], shift: Float[Tensor, "targets vocabulary"]
) -> Float[Tensor, "targets vocabulary"]:
    """Multiply ``diag(p) - p p'`` of each token with a shift of its logits."""
    moved = probabilities * shift
    return moved - probabilities * moved.sum(dim=1, keepdim=True)
