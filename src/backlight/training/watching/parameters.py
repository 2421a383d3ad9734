"""Which parameters a model has, in which modules, layers and depths."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import cast

from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.nn.parameter import is_lazy
from torch.utils.hooks import RemovableHandle

from backlight.errors import ModelError
from backlight.training.guarding.hooks import Hooks
from backlight.training.log.history import ParameterInfo


def bare(model: nn.Module) -> nn.Module:
    """Take off what ``torch.compile`` and data parallelism put around a model."""
    inner = getattr(model, "_orig_mod", None)
    if isinstance(inner, nn.Module):
        return bare(inner)
    parallel = isinstance(model, (DataParallel, DistributedDataParallel))
    return bare(cast("nn.Module", model.module)) if parallel else model


def describe_parameters(model: nn.Module) -> tuple[ParameterInfo, ...]:
    """List the parameters of a model; one that is tied is listed once, by its first name.

    Args:
        model: The model, without wrappers.

    Returns:
        What is known of each, with the order of registration as its depth.

    Raises:
        ModelError: If none is trainable, or one that is is complex or holds no numbers yet.
    """
    found: list[ParameterInfo] = []
    for depth, (name, parameter) in enumerate(model.named_parameters()):
        _refuse(name, parameter)
        found.append(describe_parameter(model, name, parameter, depth=depth))
    if not any(info.trainable for info in found):
        raise ModelError(
            f"No parameter of this {type(model).__name__} is trainable, so there is no gradient "
            "to watch. Call requires_grad_() on what is to be trained."
        )
    return tuple(found)


def describe_parameter(
    model: nn.Module, name: str, parameter: Tensor, *, depth: int, since: int = 0
) -> ParameterInfo:
    """Describe one parameter.

    Args:
        model: The model, without wrappers.
        name: Its path.
        parameter: The parameter.
        depth: Its number in the order of depth.
        since: The step from which on it is there; 0 for the beginning.

    Returns:
        What the log says of it.
    """
    path = name.rpartition(".")[0]
    return ParameterInfo(
        name=name,
        module=path,
        kind=type(model.get_submodule(path)).__name__,
        shape=tuple(parameter.shape),
        numel=parameter.numel(),
        layer=_layer(model, path),
        depth=depth,
        trainable=parameter.requires_grad,
        since=since,
    )


def blocks(model: nn.Module) -> dict[str, nn.Module]:
    """Find the repeated blocks: the members of the outermost module lists."""
    return {
        path: module
        for path, module in model.named_modules()
        if path.rpartition(".")[2].isdecimal()
        and isinstance(model.get_submodule(path.rpartition(".")[0]), nn.ModuleList)
        and _layer(model, path.rpartition(".")[0]) is None
    }


def is_compiled(model: nn.Module) -> bool:
    """Check whether a model or a part of it was given to ``torch.compile``."""
    return any(
        isinstance(getattr(module, "_orig_mod", None), nn.Module)
        or getattr(module, "_compiled_call_impl", None) is not None
        for module in model.modules()
    )


class DepthOrder:
    """Sees in which order the modules of a model are used, in one forward pass.

    A parameter whose module is never called by itself (the projections inside
    ``nn.MultiheadAttention``) takes its place behind the one that was registered before it.
    """

    def __init__(self, model: nn.Module, hooks: Hooks) -> None:
        """Register the hooks.

        Args:
            model: The model.
            hooks: Those of the watch.
        """
        self._model = model
        self._seen: dict[nn.Module, int] = {}
        self._hooks = hooks
        self._handles: list[RemovableHandle] = []
        # Layers of torch's own encoder evaluate on another path where they have hooks, and round
        # otherwise; so they get theirs only while a model is trained.
        self._late = {
            inner
            for module in model.modules()
            if isinstance(module, (nn.TransformerEncoder, nn.TransformerEncoderLayer))
            for inner in module.modules()
        }
        self._hook(module for module in model.modules() if module not in self._late)

    def begin(self) -> None:
        """A forward pass with a graph begins."""
        self._hook(self._late)
        self._late = set()

    def _hook(self, modules: Iterable[nn.Module]) -> None:
        for module in modules:
            if next(module.parameters(recurse=False), None) is not None:
                register = module.register_forward_pre_hook
                self._handles.append(self._hooks.add(register, self._see))

    def _see(self, module: nn.Module, inputs: object) -> None:
        del inputs
        self._seen.setdefault(module, len(self._seen))

    def stop(self) -> None:
        """Take the hooks away."""
        for handle in self._handles:
            self._hooks.drop(handle)
        self._handles.clear()

    def apply(self, parameters: Sequence[ParameterInfo]) -> list[ParameterInfo]:
        """Set the depth of each parameter; those of one module follow each other.

        Args:
            parameters: All of them, in the order of registration.

        Returns:
            The same, in the same order.
        """
        if not self._seen:
            return list(parameters)
        places: list[tuple[int, int]] = []
        place = -1
        modules = dict(self._model.named_modules())
        for number, info in enumerate(parameters):
            if info.module in modules:  # it is there still
                place = self._seen.get(modules[info.module], place)
            places.append((place, number))
        depths = {number: depth for depth, (_, number) in enumerate(sorted(places))}
        return [replace(info, depth=depths[number]) for number, info in enumerate(parameters)]


def _refuse(name: str, parameter: Tensor) -> None:
    """Refuse a parameter whose gradient cannot be watched."""
    if is_lazy(parameter):
        raise ModelError(
            f"{name} has no shape yet: its module is lazy. Run one batch through the model first."
        )
    if parameter.requires_grad and parameter.is_complex():
        raise ModelError(f"{name} is complex; gradients of real parameters can be watched.")
    if parameter.requires_grad and parameter.is_meta:
        raise ModelError(
            f"{name} is on the meta device, where there are no numbers; load the model first."
        )


def _layer(model: nn.Module, path: str) -> int | None:
    """Return the number behind the first module list in a path, if there is one."""
    module = model
    for part in path.split(".") if path else ():
        inside = module.get_submodule(part)
        if isinstance(module, nn.ModuleList) and part.isdecimal():
            return int(part)
        module = inside
    return None
