"""The loss of every optimizer step, kept on the device until somebody asks."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, SupportsFloat, cast

from torch import Tensor

from backlight.errors import UsageError


class LossMeter:
    """Collects what micro-batches say of their loss, step by step.

    What the user tells counts before what is seen in the model's output. What is seen counts only
    if a backward pass follows.

    Attributes:
        current: The losses of the step that is under way; tensors are not waited for.
    """

    def __init__(self, loss_of: Callable[[Any], Tensor | float | None] | None) -> None:
        self._loss_of = loss_of or find_loss
        self._seen: list[Tensor | float] = []
        self._told = False
        self._parts_of_sum = False
        self.current: list[Tensor | float] = []
        self._later: list[Tensor | float] = []
        self._done: list[tuple[int, list[Tensor | float], bool]] = []

    def see(self, output: Any, arguments: Mapping[str, Any]) -> None:
        """Look for the loss in what a forward pass returned.

        Args:
            output: What the model returned.
            arguments: The keywords it was called with. With ``num_items_in_batch``, as in a
                Transformers ``Trainer``, the losses of micro-batches are parts of a sum, also those
                that the user tells.
        """
        loss = self._loss_of(output)
        if loss is not None or "num_items_in_batch" in arguments:
            self._parts_of_sum = arguments.get("num_items_in_batch") is not None
        if loss is not None:
            self._seen.append(_one_number(loss))

    def tell(self, loss: Tensor | float, *, later: bool = False) -> None:
        """Take the loss that the user gives for a micro-batch of the coming step.

        Args:
            loss: One number.
            later: It may be of this step, or of the one behind it; see ``count``.

        Raises:
            UsageError: If it is not one number.
        """
        number = _one_number(loss)
        if not self._told:
            self.current.clear()
            self._later.clear()
        self._told = True
        (self._later if later else self.current).append(number)

    def count(self, *, later: bool = False) -> None:
        """Count what was seen since the last backward pass: a backward pass has ended.

        Args:
            later: Some optimizer has stepped already, so the pass is of this step only if another
                one steps next (``join``), and else of the step behind it.
        """
        if not self._told:
            (self._later if later else self.current).extend(self._seen)
        self._seen.clear()

    def join(self) -> None:
        """Count what came later as of this step."""
        self.current += self._later
        self._later = []

    def end_step(self, step: int) -> None:
        """Close a step."""
        if self.current:
            self._done.append((step, self.current, self._parts_of_sum))
        self.current, self._later = self._later, []
        self._told = self._told and bool(self.current)
        self._seen.clear()

    def is_finite(self, step: int | None = None) -> bool:
        """Check whether the losses of a step are finite; this waits for the device.

        Args:
            step: A step that was not handed out yet; None, and for others, the one under way.

        Returns:
            Whether they are.
        """
        parts = next((parts for done, parts, _ in self._done if done == step), self.current)
        return all(math.isfinite(float(loss)) for loss in parts)

    def take(self) -> tuple[list[int], list[float]]:
        """Hand out the losses of the steps since the last time; this waits for the device."""
        steps = [step for step, _, _ in self._done]
        losses: list[float] = []
        for _, parts, is_sum in self._done:
            total = sum(float(part) for part in parts)
            losses.append(total if is_sum else total / len(parts))
        self._done = []
        return steps, losses


def _one_number(loss: Any) -> Tensor | float:
    """Take a loss off its graph.

    Returns:
        The number.

    Raises:
        UsageError: If it is not one number.
    """
    if isinstance(loss, Tensor):
        if loss.numel() != 1:
            raise UsageError(
                f"A loss is one number, not a tensor of shape {tuple(loss.shape)}; give its mean."
            )
        return loss.detach()
    if isinstance(loss, bool) or not isinstance(loss, SupportsFloat):
        raise UsageError(f"A loss is one number, not a {type(loss).__name__}.")
    return float(loss)


def find_loss(output: Any) -> Tensor | None:
    """Find the loss in what a model returns.

    Args:
        output: Anything.

    Returns:
        Its ``loss``, or else its only number that has a graph; None if there is none, or several.
    """
    named = cast("Mapping[str, Any]", output).get("loss") if isinstance(output, Mapping) else None
    loss = getattr(output, "loss", named)
    if _is_loss(loss):
        return loss
    candidates = [value for value in _values(output) if _is_loss(value)]
    return candidates[0] if len(candidates) == 1 else None


def _values(output: Any) -> list[Any]:
    if isinstance(output, Mapping):
        return list(cast("Mapping[str, Any]", output).values())
    if isinstance(output, Sequence) and not isinstance(output, str):
        return list(cast("Sequence[Any]", output))
    return [output]


def _is_loss(value: Any) -> bool:
    return isinstance(value, Tensor) and value.numel() == 1 and value.requires_grad
