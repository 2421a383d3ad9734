"""What is descended when a dictionary is learned: gradients in closed form, over what fires."""

from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from backlight.dictionaries.codes import Codes

_SAMPLED = 8


class Parameters(NamedTuple):
    """What is learned, or the gradient of a loss with respect to it.

    Attributes:
        encoder: What each feature looks for.
        encoder_bias: Added to the product with the input.
        decoder: What each feature adds to the reconstruction.
        bias: Subtracted from the input, and added to the reconstruction.
    """

    encoder: Float[Tensor, "features width"]
    encoder_bias: Float[Tensor, " features"]
    decoder: Float[Tensor, "features width"]
    bias: Float[Tensor, " width"]

    def pre_activations(self, x: Float[Tensor, "tokens width"]) -> Float[Tensor, "tokens features"]:
        """Compute what the activation function is given."""
        return torch.addmm(self.encoder_bias, x - self.bias, self.encoder.T)


def largest(pre: Float[Tensor, "tokens features"], k: int) -> tuple[Codes, float]:
    """Keep the largest positive pre-activations of a batch, k for each token on average.

    The value that divides them from the rest is looked up in every eighth token: to rank all of
    them takes as long as the encoder. So their number is k only nearly.

    Args:
        pre: Pre-activations of tokens in random order.
        k: How many features are to fire at a token, on average.

    Returns:
        What stays, and the largest value that does not (at least 0).
    """
    sample = pre[::_SAMPLED]
    rank = sample.numel() - k * len(sample)
    threshold = float(sample.flatten().kthvalue(rank).values.clamp(min=0.0)) if rank else 0.0
    return Codes.where(pre > threshold, pre), threshold


def gradients(
    parameters: Parameters,
    x: Float[Tensor, "tokens width"],
    codes: Codes,
    error: Float[Tensor, "tokens width"],
) -> Parameters:
    """Differentiate the sum of the squared errors; which features fire is taken as fixed.

    Args:
        parameters: Where.
        x: The tokens.
        codes: What fires at them, with the values that the parameters give.
        error: The reconstruction less the tokens.

    Returns:
        The gradient.
    """
    # The reconstruction of token t is sum_f values_tf decoder_f + bias, with values_tf linear in
    # encoder_f: so each parameter's gradient is a product of the transposed codes, whose entries
    # are the values themselves (decoder) or the loss's slope in them (encoder), with tokens.
    upstream = 2.0 * error
    at_features = replace(codes, values=_products(codes, parameters.decoder, upstream))
    encoder_bias = torch.bincount(
        codes.features, weights=at_features.values, minlength=codes.num_features
    )
    return Parameters(
        encoder=at_features.transposed().times(x - parameters.bias),
        encoder_bias=encoder_bias,
        decoder=codes.transposed().times(upstream),
        # The bias is added at the end, and subtracted before the encoder.
        bias=upstream.sum(dim=0) - encoder_bias @ parameters.encoder,
    )


def revival_gradients(
    parameters: Parameters,
    x: Float[Tensor, "tokens width"],
    error: Float[Tensor, "tokens width"],
    dead: Bool[Tensor, " features"],
    *,
    k: int,
) -> Parameters:
    """Differentiate the loss that revives dead features (Gao et al. 2024, arXiv 2406.04093).

    It is the sum of the squared differences between what the dictionary missed and what its dead
    features make of it, the k largest of them at each token.

    Args:
        parameters: Where.
        x: The tokens.
        error: The reconstruction less the tokens; taken as fixed.
        dead: Which features are dead, at least one.
        k: How many of them fire at a token, at most.

    Returns:
        The gradient, of which only the dead features' rows are not zero; the bias is not moved.
    """
    rows = parameters.decoder[dead]
    centred = x - parameters.bias
    pre = torch.addmm(parameters.encoder_bias[dead], centred, parameters.encoder[dead].T)
    top = pre.topk(min(k, pre.shape[1]), dim=1, sorted=False)
    features = torch.zeros_like(pre).scatter_(1, top.indices, top.values.relu())
    upstream = 2.0 * (features @ rows + error)
    at_features = (upstream @ rows.T) * (features > 0)
    found = Parameters(*map(torch.zeros_like, parameters))
    found.encoder[dead] = at_features.T @ centred
    found.encoder_bias[dead] = at_features.sum(dim=0)
    found.decoder[dead] = features.T @ upstream
    return found


def _products(
    codes: Codes, rows: Float[Tensor, "features width"], upstream: Float[Tensor, "tokens width"]
) -> Float[Tensor, " entries"]:
    """Multiply each entry's row with the gradient at its token."""
    # The backward pass of ``times`` does just that, without gathering a row for each entry.
    with torch.enable_grad():
        values = codes.values.detach().requires_grad_()
        # Torch 2.4 differentiates only where the rows may be too; no time goes into theirs.
        output = replace(codes, values=values).times(rows.detach().requires_grad_())
    return torch.autograd.grad(output, values, upstream)[0]
