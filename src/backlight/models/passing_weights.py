"""Blocks whose weights are read from files when they run, and let go of afterwards."""

from collections import defaultdict
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from backlight.errors import ModelError, quoted


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredWeights:
    """Weights in safetensors files, by the names that they have in the model.

    Attributes:
        places: The file of each, and its name there.
        dtype: The number format in which they are wanted.
    """

    places: Mapping[str, tuple[Path, str]]
    dtype: torch.dtype

    def read(self, names: Collection[str]) -> dict[str, Tensor]:
        """Read some weights.

        Each file is opened anew: what an open file has shown stays mapped. A weight that is stored
        in the wanted format is a view of the file, which the system may drop from memory at will.

        Args:
            names: Their names in the model.

        Returns:
            The weights, by name.

        Raises:
            ModelError: If one is not there.
        """
        by_file: defaultdict[Path, list[str]] = defaultdict(list)
        for name in names:
            if name not in self.places:
                raise ModelError(
                    f"{quoted(name)} has no tensor of its own in the model's files, so its weights "
                    "cannot be read block by block. Measure the whole model (without --memory)."
                )
            by_file[self.places[name][0]].append(name)
        found: dict[str, Tensor] = {}
        for file, members in by_file.items():
            with safe_open(file, framework="pt") as tensors:
                for name in members:
                    found[name] = tensors.get_tensor(self.places[name][1]).to(self.dtype)
        return found


@contextmanager
def without_weights() -> Generator[None, None, None]:
    """Put all parameters of modules that are made in the context on the meta device.

    Buffers are made as ever: those that are computed are in no file. A parameter is on the meta
    device before it is first written to, so no memory is taken for it.

    Yields:
        Nothing.
    """
    register = nn.Module.register_parameter

    def on_meta(self: nn.Module, name: str, param: nn.Parameter | None) -> None:
        if param is not None and not param.is_meta:
            param = nn.Parameter(param.to("meta"), requires_grad=param.requires_grad)
        register(self, name, param)

    nn.Module.register_parameter = on_meta
    try:
        yield
    finally:
        nn.Module.register_parameter = register


def let_weights_pass(model: nn.Module, blocks: Sequence[nn.Module], weights: StoredWeights) -> None:
    """Give a model on the meta device its weights: of each block only for as long as it runs.

    What lies outside of the blocks is read at once, and so are vectors inside; a weight that is
    shared (a tied head) is read once for all its places.

    Args:
        model: The model; it is changed.
        blocks: Its blocks.
        weights: Its weights.

    Raises:
        ModelError: If a weight is in no file, or has another shape there.
    """
    inside = {id(module) for block in blocks for module in block.modules()}
    names = {id(module): name for name, module in model.named_modules()}
    outer = [module for module in model.modules() if id(module) not in inside]
    _put(outer, names, weights)
    # Gains of norms and biases are small, and read by whoever reads the norms as numbers.
    _put(list(model.modules()), names, weights, only_vectors=True)
    for block in blocks:
        forward: Callable[..., Any] = block.forward
        vars(block)["forward"] = _with_weights(forward, list(block.modules()), names, weights)


def _with_weights(
    forward: Callable[..., Any],
    modules: Sequence[nn.Module],
    names: Mapping[int, str],
    weights: StoredWeights,
) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        before = [dict(module._parameters) for module in modules]  # pyright: ignore[reportPrivateUsage]
        try:
            _put(modules, names, weights)
            # A graph that is built here keeps the weights that it needs until it is let go.
            return forward(*args, **kwargs)
        finally:
            for module, parameters in zip(modules, before, strict=True):
                module._parameters.update(parameters)  # pyright: ignore[reportPrivateUsage]

    return run


def _put(
    modules: Sequence[nn.Module],
    names: Mapping[int, str],
    weights: StoredWeights,
    *,
    only_vectors: bool = False,
) -> None:
    """Put stored weights in the places of those on the meta device."""
    places: defaultdict[int, list[tuple[nn.Module, str, str]]] = defaultdict(list)
    blank: dict[int, nn.Parameter] = {}
    for module in modules:
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            if parameter.is_meta and (parameter.dim() < 2 or not only_vectors):
                path = ".".join(filter(None, (names[id(module)], name)))
                blank[id(parameter)] = parameter
                places[id(parameter)].append((module, name, path))
    # Of the names of a shared weight the files hold any one.
    chosen = {
        key: next((path for *_, path in found if path in weights.places), found[0][2])
        for key, found in places.items()
    }
    read = weights.read(chosen.values())
    for key, found in places.items():
        tensor = read[chosen[key]]
        if tensor.shape != blank[key].shape:
            raise ModelError(
                f"{quoted(chosen[key])} is {list(tensor.shape)} in the file, but should be "
                f"{list(blank[key].shape)}."
            )
        # A view would keep the pages of the whole file that it came from.
        own = nn.Parameter(tensor.clone() if only_vectors else tensor, requires_grad=False)
        for module, name, _ in found:
            module._parameters[name] = own  # pyright: ignore[reportPrivateUsage]
