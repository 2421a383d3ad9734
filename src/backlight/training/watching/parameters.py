"""Which parameters a model has, in which modules, layers and depths."""

from dataclasses import replace

from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.hooks import RemovableHandle

from backlight.errors import ModelError
from backlight.training.history.history import ParameterInfo

__all__ = ["DepthOrder", "bare", "blocks", "describe_parameters", "is_compiled"]


def bare(model: nn.Module) -> nn.Module:
    """Take off what ``torch.compile`` and ``DistributedDataParallel`` put around a model."""
    inner = getattr(model, "_orig_mod", None)
    if isinstance(inner, nn.Module):
        return bare(inner)
    return bare(model.module) if isinstance(model, DistributedDataParallel) else model


def describe_parameters(model: nn.Module) -> tuple[ParameterInfo, ...]:
    """List the parameters of a model; one that is tied is listed once, by its first name.

    Args:
        model: The model, without wrappers.

    Returns:
        What is known of each, with the order of registration as its depth.

    Raises:
        ModelError: If none is trainable, or one is complex.
    """
    found: list[ParameterInfo] = []
    for depth, (name, parameter) in enumerate(model.named_parameters()):
        path = name.rpartition(".")[0]
        if parameter.is_complex():
            raise ModelError(f"{name} is complex; gradients of real parameters can be watched.")
        info = ParameterInfo(
            name=name,
            module=path,
            kind=type(model.get_submodule(path)).__name__,
            shape=tuple(parameter.shape),
            numel=parameter.numel(),
            layer=_layer(model, path),
            depth=depth,
            trainable=parameter.requires_grad,
        )
        found.append(info)
    if not any(info.trainable for info in found):
        raise ModelError(
            f"No parameter of this {type(model).__name__} is trainable, so there is no gradient "
            "to watch. Call requires_grad_() on what is to be trained."
        )
    return tuple(found)


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
    """Tell whether a model or a part of it was given to ``torch.compile``."""
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

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._seen: dict[nn.Module, int] = {}
        self._handles: list[RemovableHandle] = [
            module.register_forward_pre_hook(self._see)
            for module in model.modules()
            if next(module.parameters(recurse=False), None) is not None
        ]

    def _see(self, module: nn.Module, inputs: object) -> None:
        del inputs
        self._seen.setdefault(module, len(self._seen))

    def stop(self) -> None:
        """Take the hooks away."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def apply(self, parameters: tuple[ParameterInfo, ...]) -> tuple[ParameterInfo, ...]:
        """Give each parameter its depth; those of one module follow each other.

        Args:
            parameters: All of them, in the order of registration.

        Returns:
            The same, in the same order.
        """
        if not self._seen:
            return parameters
        places: list[tuple[int, int]] = []
        place = -1
        for number, info in enumerate(parameters):
            place = self._seen.get(self._model.get_submodule(info.module), place)
            places.append((place, number))
        depths = {number: depth for depth, (_, number) in enumerate(sorted(places))}
        return tuple(replace(info, depth=depths[number]) for number, info in enumerate(parameters))


def _layer(model: nn.Module, path: str) -> int | None:
    """Give the number behind the first module list in a path, None if there is no list."""
    module = model
    for part in path.split(".") if path else ():
        inside = module.get_submodule(part)
        if isinstance(module, nn.ModuleList) and part.isdecimal():
            return int(part)
        module = inside
    return None
