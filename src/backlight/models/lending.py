"""A model on loan: frozen and in evaluation mode while it is looked at, then as it was before."""

import copy
import random
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
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
    learning = [module for module in modules if module.training]
    loose = [
        parameter
        for parameter in _parameters(modules)
        if parameter.requires_grad and not parameter.is_inference()
    ]
    kept = _Kept.of(modules)
    device = device_of(model)
    put_random_back = _random_numbers(device)
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
            put_random_back()
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """What a forward pass may write, as it was.

    Attributes:
        attributes: What each module holds, and the same as it was.
        containers: Lists and the like, and their members.
        hooks: Those of each module and the same as they were: Transformers adds some in the pass
            in which hidden states are asked for.
        small: Tensors, their versions and copies.
        large: Names of tensors that are not copied, and their versions.
        generators: What sets generators of random numbers back.
    """

    attributes: list[tuple[dict[str, Any], dict[str, Any]]]
    containers: list[tuple[Any, Any]]
    hooks: list[tuple[dict[int, Any], dict[int, Any]]]
    small: list[tuple[Tensor, int, Tensor]]
    large: list[tuple[str, Tensor, int]]
    generators: list[Callable[[], object]]

    @staticmethod
    def of(modules: Sequence[nn.Module]) -> "_Kept":
        """Keep all that some modules hold."""
        kept = _Kept(attributes=[], containers=[], hooks=[], small=[], large=[], generators=[])
        for module in modules:
            held = vars(module)
            own = {name: value for name, value in held.items() if name not in _OWN}
            kept.attributes.append((held, own))
            for name, value in own.items():
                kept.keep(value, f"{name} of {type(module).__name__}")
            kept.hooks.extend((held[name], dict(held[name])) for name in _HOOKS)
            for name, buffer in held.get("_buffers", {}).items():
                kept.keep(buffer, f"{name} of {type(module).__name__}")
        for parameter in _parameters(modules):
            if not parameter.is_inference():
                kept.large.append(("its weights", parameter, parameter._version))
        return kept

    def keep(self, value: Any, name: str) -> None:
        """Keep one value, if it is of a kind that can be written into."""
        kind = _kind_of(type(value))
        if kind is None:
            return
        if kind is Tensor:
            self._keep_tensor(value, name)
        elif kind is torch.Generator:
            self.generators.append(partial(value.set_state, value.get_state()))
        elif kind is random.Random:
            self.generators.append(partial(value.setstate, value.getstate()))
        elif kind is np.random.Generator:
            bits = value.bit_generator
            self.generators.append(partial(setattr, bits, "state", copy.deepcopy(bits.state)))
        else:
            self.containers.append((value, copy.copy(value)))

    def _keep_tensor(self, tensor: Tensor, name: str) -> None:
        if tensor.is_inference() or tensor.is_meta or tensor.layout != torch.strided:
            return
        if tensor.numel() <= _SMALL:
            self.small.append((tensor, tensor._version, tensor.detach().clone()))
        else:
            self.large.append((name, tensor, tensor._version))

    def give_back(self) -> None:
        """Put everything back that is not as it was; what is as it was is not touched."""
        if self._written() is not None:
            return  # what a model notes about weights that it has changed must stay true of them
        for held, own in self.attributes:
            for name in [name for name in held if name not in own and name not in _OWN]:
                del held[name]
            for name, value in own.items():
                if held.get(name) is not value:
                    held[name] = value
        for container, members in self.containers:
            _refill(container, members)
        for hooks, before in self.hooks:
            if hooks != before:
                hooks.clear()
                hooks.update(before)
        for tensor, version, before in self.small:
            if tensor._version != version or not _same(tensor, before):
                with torch.no_grad():
                    tensor.copy_(before)
        for put_back in self.generators:
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
        for name, tensor, version in self.large:
            if tensor._version != version:
                return f"{name} ({tensor.numel()} numbers)"
        return None


@lru_cache(maxsize=4096)
def _kind_of(cls: type) -> type | None:
    """Tell which of the kinds that can be written into a class is; asking a value can be slow."""
    return next((kind for kind in _KINDS if issubclass(cls, kind)), None)


def _refill(container: Any, members: Any) -> None:
    """Give a container its members back, if they are others than before."""
    if _identities(container) == _identities(members):
        return
    container.clear()
    (container.extend if isinstance(container, list | deque) else container.update)(members)


def _identities(container: Any) -> list[int]:
    found = list(map(id, container))
    return found + list(map(id, container.values())) if isinstance(container, dict) else found


def _same(tensor: Tensor, before: Tensor) -> bool:
    return torch.equal(tensor, before) or (
        bool(tensor.is_floating_point()) and torch.equal(tensor.nan_to_num(), before.nan_to_num())
    )


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
        stack.enter_context(torch.compiler.set_stance("force_eager"))
    if device.type == "cuda" and any(isinstance(module, nn.RNNBase) for module in modules):
        # cuDNN goes back through recurrent modules in training mode only.
        stack.enter_context(torch.backends.cudnn.flags(enabled=False))


def _is_compiled(module: nn.Module) -> bool:
    held = vars(module)
    return held.get("_compiled_call_impl") is not None or "_orig_mod" in held.get("_modules", ())


def _random_numbers(device: torch.device) -> Callable[[], None]:
    """Keep the state of all shared random numbers, and return what puts it back."""
    own, python, numpys = torch.get_rng_state(), random.getstate(), np.random.get_state()
    accelerator = {"cuda": torch.cuda, "mps": torch.mps}.get(device.type)
    there: Any = None
    if device.type == "cuda":
        there = torch.cuda.get_rng_state(device)
    elif accelerator is not None:
        there = torch.mps.get_rng_state()

    def put_back() -> None:
        torch.set_rng_state(own)
        random.setstate(python)
        np.random.set_state(numpys)
        if device.type == "cuda":
            torch.cuda.set_rng_state(there, device)
        elif accelerator is not None:
            torch.mps.set_rng_state(there)

    return put_back
