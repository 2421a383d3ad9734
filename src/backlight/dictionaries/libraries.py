"""Dictionaries of SAELens and dictionary_learning in memory, read by the code for their files.

They are recognised by what they offer, and neither library is imported.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from backlight.dictionaries.dictionary import Dictionary
from backlight.dictionaries.formats import dictionary_learning, saelens
from backlight.dictionaries.formats.settings import Settings
from backlight.dictionaries.formats.weights import Weights

_IN_TRAINING = "log_threshold"  # SAELens' thresholds before it saves them: not the same numbers


def dictionary_of_library(obj: object) -> Dictionary | None:
    """Read an object of SAELens or dictionary_learning.

    Args:
        obj: Any object; it is not changed.

    Returns:
        The dictionary, with copies of the object's tensors, in float64 if they are that and else in
        float32; None if this is no object of these libraries.

    Raises:
        DictionaryError: If what it says of itself and its tensors contradict each other.
    """
    state = _state(obj)
    if {"W_enc", "W_dec"} <= state.keys() and _IN_TRAINING not in state:
        told = _configuration(obj)
        if saelens.knows(told):
            return saelens.read_held(Settings(path=_place(obj), values=told), _weights(obj, state))
    if dictionary_learning.knows(type(obj).__name__, state):
        sizes = {name: getattr(obj, name, None) for name in ("activation_dim", "dict_size")}
        k = {"k": int(state["k"])} if state.get("k") is not None and state["k"].numel() == 1 else {}
        told = {"dict_class": type(obj).__name__, **sizes, **k}
        settings = Settings(path=_place(obj), values=told)
        return dictionary_learning.read_held(settings, _weights(obj, state))
    return None


def _place(obj: object) -> Path:
    """Name the object where messages name a file."""
    return Path(f"{type(obj).__name__} in memory")


def _state(obj: Any) -> dict[str, Tensor]:
    found = obj.state_dict() if callable(getattr(obj, "state_dict", None)) else {}
    if not isinstance(found, Mapping):
        return {}
    return {str(name): value for name, value in found.items() if isinstance(value, Tensor)}


def _configuration(obj: Any) -> dict[str, Any]:
    to_dict = getattr(getattr(obj, "cfg", None), "to_dict", None)
    found = to_dict() if callable(to_dict) else {}
    return dict(found) if isinstance(found, Mapping) else {}


def _weights(obj: object, state: Mapping[str, Tensor]) -> Weights:
    first = next(value for value in state.values() if value.is_floating_point())
    return Weights(
        path=_place(obj),
        names=tuple(state),
        fetch=state.__getitem__,
        dtype=torch.float64 if first.dtype == torch.float64 else torch.float32,
        device=first.device,
    )
