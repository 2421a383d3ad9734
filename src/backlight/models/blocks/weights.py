"""Blocks whose weights are read from files when they run, and let go of afterwards."""

from collections import defaultdict
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from backlight.errors import ModelError, quoted


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a weight is stored.

    Attributes:
        file: The file, in safetensors.
        name: The weight's name there.
        dtype: The number format that it is stored in; None for one that torch does not have.
    """

    file: Path
    name: str
    dtype: torch.dtype | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredWeights:
    """Weights in safetensors files, by the names that they have in the model.

    Attributes:
        places: Where each is.
        dtype: The number format in which they are wanted.
    """

    places: Mapping[str, Place]
    dtype: torch.dtype

    def read(
        self, names: Collection[str], *, prepare: Callable[[Tensor], Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Read some weights.

        Each file is opened anew: what an open file has shown stays mapped. A weight that is stored
        in the wanted format is a view of the file, which the system may drop from memory at will.

        Args:
            names: Their names in the model.
            prepare: What is done with each as it is stored; by default it is brought into the
                wanted format.

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
            by_file[self.places[name].file].append(name)
        found: dict[str, Tensor] = {}
        for file, members in by_file.items():
            with safe_open(file, framework="pt") as tensors:
                for name in members:
                    tensor = tensors.get_tensor(self.places[name].name)
                    found[name] = (tensor if prepare is None else prepare(tensor)).to(self.dtype)
        return found

    def takes_memory(self, name: str) -> bool:
        """Whether a weight needs memory of its own: it is stored in another number format."""
        return self.places[name].dtype != self.dtype

    def stored_name(self, names: Iterable[str]) -> str:
        """Choose, of the names of a shared weight, one that the files have; the first without."""
        listed = list(names)
        return next((name for name in listed if name in self.places), listed[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightBytes:
    """What a model's weights take, in the number format in which it runs.

    Attributes:
        all: All of them.
        outside: Memory for those outside of the blocks; 0 if they are views of files.
        block: Memory for those of the block that has most, likewise.
    """

    all: int
    outside: int
    block: int


def weight_bytes(
    model: nn.Module, blocks: Sequence[nn.Module], weights: StoredWeights
) -> WeightBytes:
    """Count what a model on the meta device will take.

    Args:
        model: The model.
        blocks: Its blocks.
        weights: Its weights.

    Returns:
        The bytes.
    """
    names: defaultdict[int, list[str]] = defaultdict(list)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names[id(parameter)].append(name)

    def counted(parameters: Iterable[nn.Parameter], *, own: bool) -> int:
        unique = {id(each): each for each in parameters}
        return sum(
            each.numel() * weights.dtype.itemsize
            for key, each in unique.items()
            if not own or weights.takes_memory(weights.stored_name(names[key]))
        )

    inside = {id(each) for block in blocks for each in block.parameters()}
    outside = [each for each in model.parameters() if id(each) not in inside]
    return WeightBytes(
        all=counted(model.parameters(), own=False),
        outside=counted(outside, own=True),
        block=max(counted(block.parameters(), own=True) for block in blocks),
    )


def let_weights_pass(
    model: nn.Module, blocks: Sequence[nn.Module], weights: StoredWeights
) -> Callable[[int], AbstractContextManager[None]]:
    """Give a model on the meta device its weights: of each block only for as long as it runs.

    What lies outside of the blocks is read at once, and so is what is small inside; a weight that
    is shared (a tied head) is read once for all its places.

    Args:
        model: The model; it is changed.
        blocks: Its blocks.
        weights: Its weights.

    Returns:
        Given the number of a block, holds its weights for as long as the context lasts.

    Raises:
        ModelError: If a weight is in no file, or has another shape there.
    """
    inside = {id(module) for block in blocks for module in block.modules()}
    names = {id(module): name for name, module in model.named_modules()}
    outer = [module for module in model.modules() if id(module) not in inside]
    _put(outer, names, weights)
    # Gains of norms and biases are small, and read by whoever reads the norms as numbers; some are
    # split into heads.
    longest = max((each.numel() for each in model.parameters() if each.dim() < 2), default=0)
    _put(list(model.modules()), names, weights, most=longest)
    holds = [partial(_holding, list(block.modules()), names, weights) for block in blocks]
    for block, hold in zip(blocks, holds, strict=True):
        vars(block)["forward"] = _with_weights(block.forward, hold)
    return lambda layer: holds[layer]()


@contextmanager
def _holding(
    modules: Sequence[nn.Module], names: Mapping[int, str], weights: StoredWeights
) -> Generator[None, None, None]:
    before = [dict(module._parameters) for module in modules]  # pyright: ignore[reportPrivateUsage]
    try:
        _put(modules, names, weights)
        yield
    finally:
        for module, parameters in zip(modules, before, strict=True):
            module._parameters.update(parameters)  # pyright: ignore[reportPrivateUsage]


def _with_weights(
    forward: Callable[..., Any], hold: Callable[[], AbstractContextManager[None]]
) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        # A graph that is built here keeps the weights that it needs until it is let go.
        with hold():
            return forward(*args, **kwargs)

    return run


def _put(
    modules: Sequence[nn.Module],
    names: Mapping[int, str],
    weights: StoredWeights,
    *,
    most: int | None = None,
) -> None:
    """Put stored weights, or those of so many numbers at most, in the places of blank ones."""
    places: defaultdict[int, list[tuple[nn.Module, str, str]]] = defaultdict(list)
    blank: dict[int, nn.Parameter] = {}
    for module in modules:
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            if parameter.is_meta and (most is None or parameter.numel() <= most):
                path = ".".join(filter(None, (names[id(module)], name)))
                blank[id(parameter)] = parameter
                places[id(parameter)].append((module, name, path))
    chosen = {key: weights.stored_name(path for *_, path in found) for key, found in places.items()}
    read = weights.read(chosen.values())
    for key, found in places.items():
        tensor = read[chosen[key]]
        if tensor.shape != blank[key].shape:
            raise ModelError(
                f"{quoted(chosen[key])} is {list(tensor.shape)} in the file, but should be "
                f"{list(blank[key].shape)}."
            )
        # A view would keep the pages of the whole file that it came from.
        own = nn.Parameter(tensor if most is None else tensor.clone(), requires_grad=False)
        for module, name, _ in found:
            module._parameters[name] = own  # pyright: ignore[reportPrivateUsage]
