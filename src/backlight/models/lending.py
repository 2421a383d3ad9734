"""A model on loan: frozen and in evaluation mode while it is looked at, then as it was before."""

import copy
import random
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from backlight.errors import ModelError
from backlight.models.versions import require

_OWN = frozenset(vars(nn.Module())) - {"_buffers"}  # what nn.Module itself holds
_HOOKS = ("_forward_hooks", "_forward_hooks_with_kwargs", "_forward_pre_hooks")
_KINDS = (Tensor, torch.Generator, random.Random, np.random.Generator, dict, list, set, deque)
_lent: ContextVar[frozenset[int]] = ContextVar("lent", default=frozenset())
_SMALL = 1 << 16  # numbers of a tensor that is copied to be safe; larger ones are only watched


@contextmanager
def borrowed(model: nn.Module) -> Generator[None, None, None]:
    """Freeze a model and put it in evaluation mode for as long as the context lasts.

    Afterwards, also after an error or Ctrl-C, it is as it was to the last bit: what needs a
    gradient, which modules are in training mode, buffers and attributes that a forward pass has
    written, and the random numbers of torch, numpy and Python. Inside, the number format is the
    model's own: autocast and inference mode of the caller are off. In a model that is borrowed
    already, nothing is done.

    Args:
        model: The model.

    Yields:
        Nothing.

    Raises:
        ModelError: If a forward pass has written into weights or into a large buffer, which cannot
            be put back.
    """
    if id(model) in _lent.get():
        yield
        return
    modules = list(model.modules())
    parameters = _parameters(modules)
    learning = [module for module in modules if module.training]
    loose = [each for each in parameters if each.requires_grad and not each.is_inference()]
    kept = _Kept(modules, parameters)
    device = device_of(model)
    random_numbers = _random_numbers(device)
    with ExitStack() as stack:
        _enter_plain_modes(stack, modules, device)
        token = _lent.set(_lent.get() | {id(model)})
        try:
            # Not model.eval(): some override train() to merge weights, which costs their last bits.
            for module in learning:
                module.training = False
            for parameter in loose:
                parameter.requires_grad = False
            yield
        finally:
            _lent.reset(token)
            kept.give_back()
            for parameter in loose:
                parameter.requires_grad = True
            for module in learning:
                module.training = True
            for put_back in random_numbers:
                put_back()
    kept.check_large()


@final
@dataclass(frozen=True, slots=True)
class Lent:
    """Runs a model that is borrowed for as long as it takes.

    Attributes:
        model: The model.
        forward: From token ids to what it gives.
    """

    model: nn.Module
    forward: Callable[[Tensor], Tensor]

    def __call__(self, input_ids: Tensor) -> Tensor:
        """Run it; tokens made in inference mode are copied, as autograd may not keep those."""
        with borrowed(self.model):
            return self.forward(input_ids.clone() if input_ids.is_inference() else input_ids)


def device_of(model: nn.Module) -> torch.device:
    """Find where a model's weights are; the CPU if it has none."""
    first = next(chain(model.parameters(), model.buffers()), None)
    return torch.device("cpu") if first is None else first.device


@final
class _Kept:
    """What a forward pass may write, as it was.

    Small tensors, lists and the like are copied, and put back if they are others than before. Large
    tensors are only watched, since a copy of all weights would double the memory: PyTorch counts
    writes in place in ``_version`` (but not those through ``.data``). What is as it was is not
    touched, as writing even the same numbers would move that count, and a graph of the owner's that
    still needs the tensor could then not be walked back.
    """

    def __init__(self, modules: Sequence[nn.Module], parameters: Sequence[nn.Parameter]) -> None:
        self._put_back: list[Callable[[], object]] = []
        self._watched: list[tuple[str, Tensor, int]] = [
            ("its weights", parameter, parameter._version)
            for parameter in parameters
            if not parameter.is_inference()  # such tensors have no version
        ]
        for module in modules:
            held = vars(module)
            own = {name: value for name, value in held.items() if name not in _OWN}
            hooks = [(held[name], dict(held[name])) for name in _HOOKS]
            self._put_back.append(partial(_put_attributes_back, held, own, hooks))
            for name, value in chain(own.items(), held.get("_buffers", {}).items()):
                self._keep(value, f"{name} of {type(module).__name__}")

    def _keep(self, value: Any, name: str) -> None:
        """Keep one value, if it is of a kind that can be written into."""
        kind = _kind_of(type(value))
        if kind is None:
            return
        if kind is Tensor:
            self._keep_tensor(value, name)
        elif kind is torch.Generator:
            self._put_back.append(partial(value.set_state, value.get_state()))
        elif kind is random.Random:
            self._put_back.append(partial(value.setstate, value.getstate()))
        elif kind is np.random.Generator:
            bits = value.bit_generator
            self._put_back.append(partial(setattr, bits, "state", copy.deepcopy(bits.state)))
        else:
            self._put_back.append(partial(_refill, value, copy.copy(value)))

    def _keep_tensor(self, tensor: Tensor, name: str) -> None:
        if tensor.is_inference() or tensor.is_meta or tensor.layout != torch.strided:
            return
        if tensor.numel() > _SMALL:
            self._watched.append((name, tensor, tensor._version))
        else:
            before = tensor.detach().clone()
            self._put_back.append(partial(_put_numbers_back, tensor, tensor._version, before))

    def give_back(self) -> None:
        """Put everything back that is not as it was; what is as it was is not touched."""
        if self._written() is None:  # else what a model notes about its changed weights is true
            for put_back in self._put_back:
                put_back()

    def check_large(self) -> None:
        """Refuse a model whose forward pass writes what was not copied."""
        written = self._written()
        if written is not None:
            raise ModelError(
                f"A forward pass of this model writes into {written[:200]}, also in evaluation "
                "mode, so the model cannot be given back as it was. Measure a copy of it "
                "(copy.deepcopy); if it does so only the first time, run it once before."
            )

    def _written(self) -> str | None:
        for name, tensor, version in self._watched:
            if tensor._version != version:
                return f"{name} ({tensor.numel()} numbers)"
        return None


@lru_cache(maxsize=4096)
def _kind_of(cls: type) -> type | None:
    """Find which of the kinds that can be written into a class is; asking a value can be slow."""
    return next((kind for kind in _KINDS if issubclass(cls, kind)), None)


def _put_attributes_back(
    held: dict[str, Any],
    own: Mapping[str, Any],
    hooks: Sequence[tuple[dict[int, Any], Mapping[int, Any]]],
) -> None:
    for name in [name for name in held if name not in own and name not in _OWN]:
        del held[name]
    for name, value in own.items():
        if held.get(name) is not value:
            held[name] = value
    # Transformers adds hooks in the pass in which hidden states are asked for.
    for now, before in hooks:
        if now != before:
            now.clear()
            now.update(before)


def _put_numbers_back(tensor: Tensor, version: int, before: Tensor) -> None:
    # The version does not see what is written through ``.data`` or by numpy, so numbers are
    # compared too; and NaN, which is not equal to itself, must not count as a change.
    same = torch.equal(tensor, before) or (
        bool(tensor.is_floating_point()) and torch.equal(tensor.nan_to_num(), before.nan_to_num())
    )
    if tensor._version != version or not same:
        with torch.no_grad():
            tensor.copy_(before)


def _refill(container: Any, members: Any) -> None:
    """Put the members of a container back, if they are others than before."""
    # By identity: members may be tensors, whose equality is a tensor, or anything else.
    if not (container or members) or _identities(container) == _identities(members):
        return
    container.clear()
    (container.extend if isinstance(container, list | deque) else container.update)(members)


def _identities(container: Any) -> list[int]:
    found = list(map(id, container))
    return found + list(map(id, container.values())) if isinstance(container, dict) else found


def _parameters(modules: Iterable[nn.Module]) -> list[nn.Parameter]:
    """List all parameters, tied ones once; ``nn.Module.parameters`` takes five times as long."""
    found: dict[int, nn.Parameter] = {}
    for module in modules:
        for parameter in vars(module).get("_parameters", {}).values():
            if parameter is not None:
                found[id(parameter)] = parameter
    return list(found.values())


def _enter_plain_modes(
    stack: ExitStack, modules: Sequence[nn.Module], device: torch.device
) -> None:
    """Leave the modes in which the caller may be, for as long as the stack lasts."""
    if torch.is_inference_mode_enabled():
        stack.enter_context(torch.inference_mode(mode=False))
    for kind in {"cpu", device.type} - {"meta"}:
        if torch.is_autocast_enabled(kind):
            stack.enter_context(torch.autocast(kind, enabled=False))
    if any(map(_is_compiled, modules)):
        # Compiled code does not call hooks that came later.
        require("2.6", "A compiled model", "torch")
        stack.enter_context(torch.compiler.set_stance("force_eager"))
    if device.type == "cuda" and any(isinstance(module, nn.RNNBase) for module in modules):
        # cuDNN goes back through recurrent modules in training mode only.
        stack.enter_context(torch.backends.cudnn.flags(enabled=False))


def _is_compiled(module: nn.Module) -> bool:
    held = vars(module)
    return held.get("_compiled_call_impl") is not None or "_orig_mod" in held.get("_modules", ())


def _random_numbers(device: torch.device) -> list[Callable[[], object]]:
    """Keep the states of all shared random numbers, and return what puts them back."""
    kept: list[Callable[[], object]] = [
        partial(torch.set_rng_state, torch.get_rng_state()),
        partial(random.setstate, random.getstate()),
        partial(np.random.set_state, np.random.get_state()),
    ]
    if device.type == "cuda":
        there = torch.cuda.get_rng_state(device)
        kept.append(partial(torch.cuda.set_rng_state, there, device))
    elif device.type == "mps":
        kept.append(partial(torch.mps.set_rng_state, torch.mps.get_rng_state()))
    return kept
