"""A model in another number format for a while: other weights in its modules, then its own."""

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from backlight.models.subject import Subject
from backlight.models.wiring.head import Head


def format_of(model: nn.Module) -> torch.dtype:
    """Find the coarsest number format among a model's weights; float32 if it has none."""
    found = {each.dtype for each in model.parameters() if each.is_floating_point()}
    return max(found, key=lambda dtype: torch.finfo(dtype).eps, default=torch.float32)


def name_of(dtype: torch.dtype) -> str:
    """Write a number format as on the command line, such as ``bfloat16``."""
    return str(dtype).removeprefix("torch.")


def size_in(model: nn.Module, dtype: torch.dtype) -> int:
    """Count the bytes of a model's weights in another number format; tied ones once."""
    return sum(each.numel() for each in _numbers(model)) * dtype.itemsize


@contextmanager
def in_format(subject: Subject, dtype: torch.dtype) -> Generator[Subject, None, None]:
    """Put copies of a model's weights in another number format in their place, for a while.

    The numbers are those of the model as it is, only what is computed with them is rounded
    otherwise. The modules are the model's own, so that hooks, and functions that hold the model,
    see it; the owner's tensors are not touched and come back at the end. In float64, what the model
    itself computes in float32 whatever its weights are (norms and softmax, in many) is in float64
    too.

    Args:
        subject: The model; nobody may have borrowed it.
        dtype: The format.

    Yields:
        The same model in that format. The model's own weights are back at the end, also if the
        body fails.
    """
    copies: dict[int, Tensor] = {}

    def copy_of(tensor: Tensor) -> Tensor:
        if id(tensor) not in copies:
            copy = tensor.detach().to(dtype)
            is_parameter = isinstance(tensor, nn.Parameter)
            copies[id(tensor)] = nn.Parameter(copy, requires_grad=False) if is_parameter else copy
        return copies[id(tensor)]

    with ExitStack() as stack:
        for module in subject.model.modules():
            for name, tensor in _held(module):
                if tensor.is_floating_point() and tensor.dtype != dtype:
                    # Not into the dictionaries: recurrent modules keep a list of their weights too.
                    stack.callback(setattr, module, name, tensor)
                    setattr(module, name, copy_of(tensor))
        if subject.native is not None:
            stack.enter_context(subject.native.in_format(dtype))
        head = None if subject.head is None else _head(subject.head, copy_of)
        if dtype != torch.float64:
            yield replace(subject, head=head)
            return
        yield replace(subject, head=head, forward=_all_in_float64(subject.forward))


def _held(module: nn.Module) -> list[tuple[str, Tensor]]:
    own = vars(module)
    found = [*own["_parameters"].items(), *own["_buffers"].items()]
    return [(name, tensor) for name, tensor in found if tensor is not None]


def _numbers(model: nn.Module) -> Sequence[Tensor]:
    found = {id(each): each for module in model.modules() for _, each in _held(module)}
    return [each for each in found.values() if each.is_floating_point()]


def _head(head: Head, copy_of: Callable[[Tensor], Tensor]) -> Head:
    bias = None if head.bias is None else copy_of(head.bias)
    return replace(head, weight=copy_of(head.weight), bias=bias)


def _all_in_float64(forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def run(input_ids: Tensor) -> Tensor:
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        try:
            with _InFloat64():
                return forward(input_ids)
        finally:
            torch.set_default_dtype(before)

    return run


class _InFloat64(TorchFunctionMode):
    """Takes float64 wherever a model asks for float32 by name."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        del types
        func = Tensor.double if func is Tensor.float else func
        raised = {name: _raised(value) for name, value in (kwargs or {}).items()}
        return func(*map(_raised, args), **raised)


def _raised(value: Any) -> Any:
    return torch.float64 if value is torch.float32 else value
