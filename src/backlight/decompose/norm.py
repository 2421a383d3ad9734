"""What a norm does to the gradient on its way back.

With ``g`` the gradient at the norm's output, ``u = gain * g``, ``d`` the width, ``z`` the
normalised input and ``sigma`` what it was divided by (``eps`` inside the root), the gradient at the
norm's input is exactly, for every ``eps``,

- layer norm: ``(u - mean(u) - z mean(u z)) / sigma``, ``sigma^2 = var(x) + eps``;
- RMS norm: ``(u - z mean(u z)) / sigma``, ``sigma^2 = mean(x^2) + eps``.

The gain must be in ``u``: a gradient taken behind the gain is not the gradient at ``z``. Backward,
centring and scaling matter more than forward (Xu et al. 2019, arXiv 1911.07013).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from backlight.decompose.precision import at_least_single


@dataclass(frozen=True, slots=True, kw_only=True)
class NormGradient:
    """The gradient at the input of a norm, in the parts that add up to it.

    Attributes:
        direct: ``u / sigma``: the norm taken as a fixed scale.
        centering: ``-mean(u) / sigma``: a common shift of the input cannot matter. Zero for an RMS
            norm, which lets shifts pass.
        radial: ``-z mean(u z) / sigma``: nor can (but for eps) a common stretch.
    """

    direct: Float[Tensor, "*tokens width"]
    centering: Float[Tensor, "*tokens width"]
    radial: Float[Tensor, "*tokens width"]

    @property
    def total(self) -> Float[Tensor, "*tokens width"]:
        """What autograd leaves at the norm's input."""
        return self.direct + self.centering + self.radial


@dataclass(frozen=True, slots=True, kw_only=True)
class NormEnergies:
    """Squared lengths of the parts of u, for each token.

    ``u = mean(u) + z mean(u z) + rest``, and ``rest / sigma`` is the gradient at the norm's input.
    The mean is at right angles to the others; rest and radial are so but for eps. Hence
    ``whole = mean + radial + rest + 2 overlap``.

    Attributes:
        mean: ``d mean(u)^2``, what centring takes out; zero for an RMS norm.
        radial: ``|z|^2 mean(u z)^2``, what scaling takes out.
        rest: What is left.
        overlap: The inner product of rest and radial part, ``d mean(u z)^2 eps / sigma^2``.
        sigma: What the norm divided by: the standard deviation, or root mean square, with eps.
    """

    mean: Float[Tensor, "*tokens"]
    radial: Float[Tensor, "*tokens"]
    rest: Float[Tensor, "*tokens"]
    overlap: Float[Tensor, "*tokens"]
    sigma: Float[Tensor, "*tokens"]

    @property
    def whole(self) -> Float[Tensor, "*tokens"]:
        """The squared length of u."""
        return self.mean + self.radial + self.rest + 2 * self.overlap

    @property
    def r_mean(self) -> Float[Tensor, "*tokens"]:
        """The share of each token's energy in the mean part; NaN where no gradient arrived."""
        return self.mean / self.whole

    @property
    def r_radial(self) -> Float[Tensor, "*tokens"]:
        """The share of each token's energy in the radial part; NaN where no gradient arrived."""
        return self.radial / self.whole


def split_layer_norm_gradient(
    x: Float[Tensor, "*tokens width"],
    grad: Float[Tensor, "*tokens width"],
    gain: Float[Tensor, "*#tokens width"] | None,
    *,
    eps: float,
) -> NormGradient:
    """Split the gradient at a layer norm's input by the reason for each part.

    Nothing is averaged over tokens: each part keeps the unit of ``grad``, so it is comparable
    across batches only if the loss is a sum.

    >>> x, grad = torch.tensor([[1.0, 2.0, 6.0]]), torch.tensor([[1.0, 0.0, 0.0]])
    >>> parts = split_layer_norm_gradient(x, grad, None, eps=0.0)
    >>> [round(number, 3) for number in parts.centering[0].tolist()]  # common to all dimensions
    [-0.154, -0.154, -0.154]
    >>> abs(parts.total.sum().item()) < 1e-6  # so that a common shift of x changes nothing
    True

    Args:
        x: The norm's input, as it was in the forward pass.
        grad: The gradient at the norm's output.
        gain: What the norm multiplies by last; None for a norm that does not.
        eps: What the norm adds to the variance.

    Returns:
        The three parts, in float32 where the input is in half precision.
    """
    z, sigma = _normalise(x, eps, is_centred=True)
    u = _scaled(grad, gain)
    centering = -(u.mean(dim=-1, keepdim=True) / sigma)
    return _split(u, z, sigma, centering=centering)


def split_rms_norm_gradient(
    x: Float[Tensor, "*tokens width"],
    grad: Float[Tensor, "*tokens width"],
    gain: Float[Tensor, "*#tokens width"] | None,
    *,
    eps: float,
) -> NormGradient:
    """Split the gradient at an RMS norm's input by the reason for each part.

    >>> x, grad = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0]])
    >>> parts = split_rms_norm_gradient(x, grad, None, eps=0.0)
    >>> abs((parts.total * x).sum().item()) < 1e-6  # stretching x changes nothing
    True

    Args:
        x: The norm's input, as it was in the forward pass.
        grad: The gradient at the norm's output.
        gain: What the norm multiplies by last (1 + weight in Gemma); None for a norm that does not.
        eps: What the norm adds to the mean square.

    Returns:
        The parts, as of a layer norm; ``centering`` is zero and takes no memory.
    """
    z, sigma = _normalise(x, eps, is_centred=False)
    u = _scaled(grad, gain)
    return _split(u, z, sigma, centering=u.new_zeros(()))


def norm_energies(
    x: Float[Tensor, "*tokens width"],
    grad: Float[Tensor, "*tokens width"],
    gain: Float[Tensor, "*#tokens width"] | None,
    *,
    eps: float,
    is_centred: bool,
) -> NormEnergies:
    """Measure how much of each token's gradient a norm takes out, and why.

    Args:
        x: The norm's input, as it was in the forward pass.
        grad: The gradient at the norm's output.
        gain: What the norm multiplies by last (1 + weight in Gemma); None for a norm that does not.
        eps: What the norm adds to the variance, or to the mean square.
        is_centred: It is a layer norm; if not, an RMS norm, of which ``mean`` is zero by structure.

    Returns:
        Five numbers for each token, from which every surrogate's cosine and length follow.
    """
    z, sigma = _normalise(x, eps, is_centred=is_centred)
    u = _scaled(grad, gain)
    if not is_centred:
        return _energies(u, z, sigma, mean=torch.zeros_like(sigma), eps=eps)
    mean = u.mean(dim=-1, keepdim=True)
    return _energies(u - mean, z, sigma, mean=u.shape[-1] * mean.square(), eps=eps)


def _split(u: Tensor, z: Tensor, sigma: Tensor, *, centering: Tensor) -> NormGradient:
    return NormGradient(
        direct=u / sigma,
        centering=centering.expand_as(u),
        radial=-z * _mean_product(u, z) / sigma,
    )


def _energies(u: Tensor, z: Tensor, sigma: Tensor, *, mean: Tensor, eps: float) -> NormEnergies:
    along, width = _mean_product(u, z), u.shape[-1]
    # The rest is subtracted as a vector and then squared: the difference of two squares would lose
    # all digits where hardly anything is left.
    rest = torch.addcmul(u, z, along, value=-1)
    stretched, missing = width * along.square(), eps / sigma.square()  # |z|^2 = d (1 - missing)
    return NormEnergies(
        mean=mean.squeeze(-1),
        radial=(stretched * (1 - missing)).squeeze(-1),
        rest=torch.linalg.vecdot(rest, rest),
        overlap=(stretched * missing).squeeze(-1),
        sigma=sigma.squeeze(-1),
    )


def _normalise(x: Tensor, eps: float, *, is_centred: bool) -> tuple[Tensor, Tensor]:
    """Compute z and sigma; an RMS norm is a layer norm that does not centre."""
    x = at_least_single(x)
    x = x - x.mean(dim=-1, keepdim=True) if is_centred else x
    square = torch.linalg.vecdot(x, x).unsqueeze(-1)
    sigma = (square / x.shape[-1] + eps).sqrt()
    return x / sigma, sigma


def _scaled(grad: Tensor, gain: Tensor | None) -> Tensor:
    grad = at_least_single(grad)
    return grad if gain is None else grad * gain.to(grad.dtype)


def _mean_product(u: Tensor, z: Tensor) -> Tensor:
    return torch.linalg.vecdot(u, z).unsqueeze(-1) / u.shape[-1]
