"""Linear maps that send the error back by another road than their weights.

Forward, y = W x + b. Backward, the weights and the bias learn as ever (``dW = d_out x^T``), and the
error goes on as ``d_in = B d_out`` (Lillicrap et al. 2016, Nat. Commun. 7:13276), where B is

- a fixed random matrix: feedback alignment;
- ``sign(W^T)`` times a constant, or times fixed random magnitudes: sign-symmetric feedback, which
  follows the weights as they learn (Liao et al. 2016, arXiv 1510.05067).
"""

from abc import abstractmethod
from typing import Any, ClassVar, Literal, final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from backlight.learning_rules.feedback import MatrixHolder

WeightLayout = Literal["out_in", "in_out"]
"""How a linear map keeps its weights: as ``nn.Linear``, or transposed, as GPT-2's ``Conv1D``."""


class _LinearWithFeedback(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None, feedback: Tensor) -> Tensor:
        del feedback
        return functional.linear(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        del output
        x, _, _, feedback = inputs
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, feedback)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        x, feedback = ctx.saved_tensors
        needs_x, needs_weight, needs_bias, _ = ctx.needs_input_grad
        rows = grad.reshape(-1, grad.shape[-1])
        return (
            functional.linear(grad, feedback.to(grad.dtype)) if needs_x else None,
            rows.t() @ x.reshape(-1, x.shape[-1]) if needs_weight else None,
            rows.sum(dim=0) if needs_bias else None,
            None,
        )


def linear_with_feedback(
    x: Float[Tensor, "*tokens inputs"],
    weight: Float[Tensor, "outputs inputs"],
    bias: Float[Tensor, " outputs"] | None,
    feedback: Float[Tensor, "inputs outputs"],
) -> Float[Tensor, "*tokens outputs"]:
    """Apply a linear map whose error goes back through a matrix of its own.

    Args:
        x: The input.
        weight: The weights of the way forward; their gradient is exact.
        bias: What is added; its gradient is exact.
        feedback: The matrix of the way back. The transposed weights give backpropagation.

    Returns:
        What ``torch.nn.functional.linear`` returns, under autocast too.
    """
    kind = x.device.type
    if torch.is_autocast_enabled(kind):
        dtype = torch.get_autocast_dtype(kind)
        x, weight = _lowered(x, dtype), _lowered(weight, dtype)
        bias = None if bias is None else _lowered(bias, dtype)
    return _LinearWithFeedback.apply(x, weight, bias, feedback)


def _lowered(values: Tensor, dtype: torch.dtype) -> Tensor:
    return values if values.dtype == torch.float64 else values.to(dtype)


class LinearFeedback(MatrixHolder):
    """The role of a linear map under a rule: all but the matrix of the way back."""

    matrix_name: ClassVar[str] = "feedback"
    weight: Tensor
    feedback: Tensor
    weight_layout: WeightLayout

    def forward(self, x: Float[Tensor, "*tokens inputs"]) -> Float[Tensor, "*tokens outputs"]:
        """Apply the map."""
        weight = self.weight if self.weight_layout == "out_in" else self.weight.t()
        return linear_with_feedback(
            x, weight, getattr(self, "bias", None), self.way_back(weight.detach())
        )

    @abstractmethod
    def way_back(self, weight: Float[Tensor, "outputs inputs"]) -> Float[Tensor, "inputs outputs"]:
        """Return the matrix that the error goes back through."""


@final
class FixedFeedback(LinearFeedback):
    """A linear map under feedback alignment; ``feedback`` is the matrix B."""

    def way_back(self, weight: Float[Tensor, "outputs inputs"]) -> Float[Tensor, "inputs outputs"]:
        """Return B, whatever the weights are."""
        del weight
        return self.feedback


@final
class SignFeedback(LinearFeedback):
    """A linear map under sign-symmetric feedback; ``feedback`` is one magnitude, or all."""

    def way_back(self, weight: Float[Tensor, "outputs inputs"]) -> Float[Tensor, "inputs outputs"]:
        """Return the signs of the weights as they are now, times the magnitudes."""
        return weight.t().sign() * self.feedback
