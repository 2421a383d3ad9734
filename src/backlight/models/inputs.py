"""What a module is given: the tensor that it is called with, by place or as ``hidden_states``."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def given_to(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> object:
    """Take what a module is called with.

    Args:
        args: What it is called with by place.
        kwargs: What it is called with by name.

    Returns:
        The first by place, else ``hidden_states``; None if there is neither.

    Examples:
        >>> given_to((1, 2), {}), given_to((), {"hidden_states": 3}), given_to((), {"x": 4})
        (1, 3, None)
    """
    return args[0] if args else kwargs.get("hidden_states")


def with_given(
    args: tuple[Any, ...], kwargs: Mapping[str, Any], tensor: Tensor
) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """Put a tensor in the place of what a module is called with.

    Args:
        args: What it is called with by place.
        kwargs: What it is called with by name.
        tensor: What takes the place of ``given_to(args, kwargs)``.

    Returns:
        Both, as a hook that runs before the module returns them.
    """
    return ((tensor, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": tensor})
