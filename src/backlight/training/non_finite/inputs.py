"""What a model is called with: kept as it was, though the model may change what it was given."""

from collections import OrderedDict, UserDict, defaultdict
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """The inputs of one forward pass.

    Attributes:
        arguments: The positional inputs: copies of containers, references to tensors.
        keywords: The named inputs.
        versions: How often each tensor had been written to.
    """

    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    versions: tuple[int | None, ...]

    @classmethod
    def of(cls, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> "Inputs":
        """Keep inputs before the model sees them."""
        kept = cast("tuple[Any, ...]", _kept(arguments))
        named = {name: _kept(value) for name, value in keywords.items()}
        return cls(arguments=kept, keywords=named, versions=_versions((kept, named)))

    def obstacle(self) -> str | None:
        """Return why they cannot be used again; None if they can."""
        for kind in map(type, _leaves((self.arguments, self.keywords))):
            if hasattr(kind, "__next__"):
                return f"its batch holds an iterator ({kind.__name__}), which runs out"
        if _versions((self.arguments, self.keywords)) != self.versions:
            return "the tensors of its batch were written to since"
        return None


def tensors(value: Any) -> Iterator[Tensor]:
    """Find the tensors in dictionaries, lists and tuples."""
    return (leaf for leaf in _leaves(value) if isinstance(leaf, Tensor))


def _kept(value: Any) -> Any:
    """Copy what holds other things, in which a model may add, replace or remove some."""
    kind = type(value)
    if kind in (dict, OrderedDict):
        return kind((name, _kept(inner)) for name, inner in value.items())
    if kind is defaultdict or isinstance(value, UserDict):
        twin = copy(value)
        inside = twin.data if isinstance(twin, UserDict) else twin
        for name, inner in dict.items(inside):
            inside[name] = _kept(inner)
        return twin
    if kind in (list, tuple):
        return kind(_kept(inner) for inner in value)
    if isinstance(value, tuple) and hasattr(kind, "_make"):  # a tuple with names
        return cast("Any", kind)._make(_kept(inner) for inner in value)
    return copy(value) if kind in (set, bytearray) else value


def _leaves(value: Any) -> Iterator[Any]:
    for inner in _inside(value):
        yield from _leaves(inner)
    if not isinstance(value, (dict, UserDict, list, tuple)):
        yield value


def _inside(value: Any) -> Iterator[Any]:
    """Look into containers without calling what a class of the user's makes of them."""
    if isinstance(value, UserDict):
        value = cast("UserDict[Any, Any]", value).data
    if isinstance(value, dict):
        return iter(list(dict.values(cast("dict[Any, Any]", value))))
    if isinstance(value, list):
        return list.__iter__(cast("list[Any]", value))
    return tuple.__iter__(cast("tuple[Any, ...]", value)) if isinstance(value, tuple) else iter(())


def _versions(value: Any) -> tuple[int | None, ...]:
    # Tensors of inference mode do not count.
    return tuple(None if t.is_inference() else t._version for t in tensors(value))
