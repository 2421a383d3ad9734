"""Steps of a model that are computed as they are and walked back by a rule.

Each runs the model's own code forward, so the values are the model's own to the last bit. What is
kept for the way back is made here, never a tensor of the model's: some blocks write into those.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class NormForm:
    """What a norm computes: ``gain * (x - mean) / sqrt(mean square + eps)``, and perhaps a bias.

    Attributes:
        is_centred: It takes the mean out (layer norm); if not, it is an RMS norm.
        gain: What it multiplies by last: ``weight``, ``one_plus_weight``, or None for nothing.
        eps: What it adds under the root.
    """

    is_centred: bool
    gain: str | None
    eps: float

    def gain_of(self, norm: Any) -> Tensor | None:
        """Read what a norm multiplies by last, as it is now."""
        if self.gain is None:
            return None
        weight: Tensor = norm.weight.detach()
        weight = weight.to(torch.promote_types(weight.dtype, torch.float32))
        return weight if self.gain == "weight" else 1 + weight


@final
class FixedScale(torch.autograd.Function):
    """A norm whose scale is a constant on the way back: ``g -> C (gain * g) * scale``.

    C takes the mean out where the norm does (it is linear, so it stays). This is the LN-rule of
    layer-wise relevance propagation (Ali et al. 2022, arXiv 2202.07304).
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, run: Callable[[Tensor], Tensor], form: NormForm, gain: Tensor | None
    ) -> Tensor:
        """Run the norm itself.

        Args:
            ctx: Autograd's notes.
            x: What is normalised, over its last axis.
            run: The norm.
            form: What it computes.
            gain: What it multiplies by last.

        Returns:
            What it gives.
        """
        values = x.to(torch.promote_types(x.dtype, torch.float32))
        if form.is_centred:
            values = values - values.mean(dim=-1, keepdim=True)
        ctx.save_for_backward((values.square().mean(dim=-1, keepdim=True) + form.eps).rsqrt())
        ctx.is_centred, ctx.gain, ctx.dtype = form.is_centred, gain, x.dtype
        return run(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        """Go back through the fixed scale, the gain and the mean."""
        (scale,) = ctx.saved_tensors
        gradient = gradients[0].to(scale.dtype)
        if ctx.gain is not None:
            gradient = gradient * ctx.gain.to(scale.dtype)
        gradient = gradient * scale
        if ctx.is_centred:
            gradient = gradient - gradient.mean(dim=-1, keepdim=True)
        return gradient.to(ctx.dtype), None, None, None


@final
class FixedRatio(torch.autograd.Function):
    """A nonlinearity that multiplies by a constant on the way back: ``g -> g * act(x) / x``.

    So gradient times activation is the same on both sides. Where x is 0 the ratio is its limit
    there, the slope of a nonlinearity that is 0 at 0.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
        """Run the nonlinearity itself.

        Args:
            ctx: Autograd's notes.
            x: What enters.
            run: The nonlinearity, element by element, 0 at 0.

        Returns:
            What it gives.
        """
        y = run(x)
        is_zero = x == 0
        ratio = y / x.masked_fill(is_zero, 1.0)
        if is_zero.any():
            ratio = torch.where(is_zero, _slope_at_zero(x, run), ratio)
        ctx.save_for_backward(ratio)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Multiply by the ratio."""
        (ratio,) = ctx.saved_tensors
        return gradients[0] * ratio, None


@final
class HalfEach(torch.autograd.Function):
    """A product of two activations that gives each factor half of its gradient.

    With the whole gradient for each, gradient times activation would double.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, run: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Multiply as the model does.

        Args:
            ctx: Autograd's notes.
            a: A factor.
            b: The other, of the same shape.
            run: The multiplication.

        Returns:
            The product.
        """
        ctx.save_for_backward(a, b)
        return run(a, b)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        """Give half to each."""
        a, b = ctx.saved_tensors
        return gradients[0] * b / 2, gradients[0] * a / 2, None


def _slope_at_zero(x: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
    with torch.enable_grad():
        zero = torch.zeros(1, dtype=x.dtype, device=x.device, requires_grad=True)
        (slope,) = torch.autograd.grad(run(zero).sum(), zero)
    return slope
