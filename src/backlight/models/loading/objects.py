"""Models as other libraries hold them in memory, recognised without importing those libraries."""

from collections.abc import Mapping
from typing import Any, Literal

from torch import nn

from backlight.errors import ModelError

Library = Literal["TransformerLens", "nnsight"]

_CLASSES: Mapping[tuple[str, str], Library] = {
    ("transformer_lens", "HookedTransformer"): "TransformerLens",
    ("transformer_lens", "TransformerBridge"): "TransformerLens",
    ("nnsight", "LanguageModel"): "nnsight",
    ("nnsight", "NNsight"): "nnsight",
}
TAKEN = (
    "What is taken: a subject of backlight; a HookedTransformer or TransformerBridge of "
    "TransformerLens; a LanguageModel of nnsight; and, with its tokenizer, in "
    "backlight.subject_from_object(model, tokenizer), a model of Transformers or any "
    "torch.nn.Module"
)


def library_of(given: object) -> Library | None:
    """Name the library whose model something is, by its class or one that this is made from.

    >>> library_of("gpt2") is None
    True

    Args:
        given: Anything.

    Returns:
        The library; None if it is no model of one that wraps models.
    """
    for kind in type(given).__mro__:
        library = _CLASSES.get((kind.__module__.partition(".")[0], kind.__name__))
        if library is not None:
            return library
    return None


def module_of(given: object) -> nn.Module:
    """Take out the module that something in memory is, or that nnsight holds.

    Args:
        given: A module, or a model of nnsight. If that has no weights yet, they are loaded now, as
            they would be when it is first traced.

    Returns:
        The module.

    Raises:
        ModelError: If it is neither.
    """
    model: Any = given
    if library_of(given) == "nnsight":
        if not getattr(model, "dispatched", True):
            model.dispatch()
        model = model._module  # the documentation names no public way
    if not isinstance(model, nn.Module):
        raise ModelError(f"{kind_of_object(given)} is no model that backlight knows. {TAKEN}.")
    return model


def own_tokenizer(given: object) -> Any:
    """Take the tokenizer that an object of a library brings along; None if it has none."""
    return getattr(given, "tokenizer", None) if library_of(given) is not None else None


def kind_of_object(given: object) -> str:
    """Name the class of something, with its module."""
    return f"{type(given).__module__}.{type(given).__qualname__}"
