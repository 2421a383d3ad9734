"""Whether a loaded model is the one that its files hold."""

import logging
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from backlight.errors import ModelError, quoted
from backlight.models.loading.inventory import Inventory

_logger = logging.getLogger(__name__)
_SHOWN = 3  # names in a message
_SLACK = 2**26  # numbers, 256 MB of float32: less than this is not worth a refusal of its own


def check_size(model: PreTrainedModel, inventory: Inventory, name: str) -> None:
    """Refuse a configuration that asks for far more numbers than the files hold.

    What is missing is made up by Transformers before it can be told, and that may not fit into
    memory.

    Args:
        model: The model as it is configured, without memory (on the meta device).
        inventory: What the files hold.
        name: What the user called it.

    Raises:
        ModelError: If the two are far apart.
    """
    # Tied weights count once. Tables that are computed, not stored, make some difference, so only a
    # model of several times the numbers is refused; what is small fits into memory in any case.
    tensors = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    asked = sum(tensor.numel() for tensor in tensors.values())
    if asked > 4 * inventory.num_numbers + _SLACK:
        raise ModelError(
            f"The config.json of {name} describes a model of {asked:.3g} numbers, but its files "
            f"hold {inventory.num_numbers:.3g}. The two do not belong together."
        )


def check_formats(model: PreTrainedModel, inventory: Inventory, name: str) -> None:
    """Refuse weights that were quantised by who does not say how, before they are read.

    Args:
        model: The model; its weights need not be there yet.
        inventory: What the files hold.
        name: What the user called it.

    Raises:
        ModelError: If a floating weight of the model is stored as something else.
    """
    # Files of a bare trunk name its weights without the prefix that they have in the whole model.
    prefix = f"{model.base_model_prefix}."
    floating = {key for key, value in model.named_parameters() if value.is_floating_point()}
    floating |= {key.removeprefix(prefix) for key in floating}
    for key, stored_as in inventory.unusual():
        if key in floating:
            raise ModelError(_about_format(key, stored_as, name))


def _check_unused(
    model: PreTrainedModel, inventory: Inventory, unexpected: Collection[str], name: str
) -> None:
    """Refuse unusual formats also where weights have other names in the files than in the model.

    Args:
        model: The model.
        inventory: What the files hold.
        unexpected: Names that the model has no place for.
        name: What the user called it.

    Raises:
        ModelError: If something that is no floating tensor became part of the model's weights.
    """
    prefix = f"{model.base_model_prefix}."
    buffers = {key.removeprefix(prefix) for key, _ in model.named_buffers()}
    # What Transformers renames keeps its last part, such as the table of experts of DeepSeek-V4.
    whole = {
        (key.rpartition(".")[2], tuple(buffer.shape))
        for key, buffer in model.named_buffers()
        if not buffer.is_floating_point()
    }
    ignored = model._keys_to_ignore_on_load_unexpected or ()  # pyright: ignore[reportPrivateUsage]
    patterns = (*ignored, r"(^|\.)position_ids$")
    for key, stored_as in inventory.unusual():
        is_used = key not in unexpected and key.removeprefix(prefix) not in buffers
        is_whole = (key.rpartition(".")[2], inventory.tensors[key].shape) in whole
        if is_used and not is_whole and not any(re.search(pattern, key) for pattern in patterns):
            raise ModelError(_about_format(key, stored_as, name))


def _about_format(key: str, stored_as: str, name: str) -> str:
    return (
        f"{quoted(key)} of {name} is stored as {stored_as}, and nothing says what these numbers "
        "mean (no quantization_config in its config.json that Transformers knows). Save the model "
        "in a floating format."
    )


def check_loaded(
    model: PreTrainedModel,
    told: Mapping[str, Any],
    inventory: Inventory | None,
    name: str,
    *,
    weights: Iterable[tuple[str, Tensor]] | None = None,
) -> dict[str, str]:
    """Check that every weight of a model came from its files.

    Args:
        model: The model.
        told: What Transformers says of the loading (``output_loading_info``).
        inventory: What the files hold, None where only Transformers knows.
        name: What the user called it.
        weights: All weights with their names, if the model itself does not hold them.

    Returns:
        What reports should say: weights of the files that the model has no place for, or leaves
        aside by design, other files with weights, weights that are not finite. All but those left
        aside are told in the log, too.

    Raises:
        ModelError: If weights are missing, have another shape, or are stored as whole numbers or in
            another format that means nothing by itself.
    """
    missing = {*told["missing_keys"], *_missing_but_ignored(model, inventory)}
    unexpected = sorted(told["unexpected_keys"])
    if told["mismatched_keys"]:
        raise ModelError(_about_shapes(told["mismatched_keys"], name))
    if told["error_msgs"]:
        raise ModelError(f"{name} cannot be loaded: {quoted(' '.join(told['error_msgs']))[1:-1]}.")
    if missing:
        raise ModelError(_about_missing(sorted(missing), unexpected, model, name))
    if inventory is not None and getattr(model, "hf_quantizer", None) is None:
        _check_unused(model, inventory, unexpected, name)
    facts: dict[str, str] = {}
    if unexpected:
        facts["unused_weights"] = _listed(unexpected)
        _logger.warning("%s has no place for weights of its files: %s.", name, _listed(unexpected))
    ignored = sorted(_ignored(model, inventory))
    if ignored:
        facts["ignored_weights"] = _listed(ignored)  # by design of the architecture, so not a word
    if inventory is not None and inventory.unread:
        facts["unread_files"] = ", ".join(inventory.unread)
        _logger.warning("Of %s, %s was not read.", name, facts["unread_files"])
    broken = not_finite(model.named_parameters() if weights is None else weights)
    if broken:
        facts["weights_not_finite"] = _listed(broken)
        _logger.warning("Weights of %s hold NaN or infinity: %s.", name, _listed(broken))
    return facts


def not_finite(weights: Iterable[tuple[str, Tensor]]) -> list[str]:
    """Name those weights that hold NaN or infinity."""
    found: list[str] = []
    for name, parameter in weights:
        if parameter.is_floating_point() and parameter.numel():
            # One pass without a copy; a NaN is the least and the greatest number of all.
            low, high = parameter.detach().aminmax()
            if not bool(low.isfinite() & high.isfinite()):
                found.append(name)
    return found


def _about_shapes(mismatched: Iterable[tuple[str, Any, Any]], name: str) -> str:
    found = sorted(mismatched, key=lambda entry: entry[0])
    weight, stored, asked = found[0]
    return (
        f"{len(found)} weight{'s' if len(found) > 1 else ''} of {name} cannot be what its "
        f"config.json says: {quoted(weight)} is {list(stored)} in the file, but should be "
        f"{list(asked)}. Its config.json belongs to another model, or its weights do."
    )


def _about_missing(
    missing: list[str], unexpected: list[str], model: PreTrainedModel, name: str
) -> str:
    total = len(model.state_dict())
    prefix = _common_prefix(missing, unexpected)
    remedy = (
        f"The names in its files begin with {quoted(prefix)}: save the model inside the wrapper."
        if prefix
        else "Its config.json belongs to another model, or its files are not complete."
    )
    return (
        f"{len(missing)} of {total} weights of {name} are missing in its files and would be random "
        f"numbers: {_listed(missing)}. {remedy}"
    )


def _common_prefix(missing: list[str], unexpected: list[str]) -> str | None:
    """Find what stands before most missing names in the files, such as ``module.``."""
    there = set(unexpected)
    # One missing weight that stands there behind a prefix suggests it; that most others do too
    # proves that the prefix is the cause.
    for key in missing:
        for name in unexpected:
            if name.endswith(f".{key}"):
                prefix = name.removesuffix(key)
                num_found = sum(prefix + other in there for other in missing)
                return prefix if 2 * num_found > len(missing) else None
    return None


def _ignored(model: PreTrainedModel, inventory: Inventory | None) -> Iterator[str]:
    """Find weights of the files that an architecture tells Transformers to leave aside."""
    patterns = model._keys_to_ignore_on_load_unexpected or ()  # pyright: ignore[reportPrivateUsage]
    there = {*dict(model.named_parameters()), *dict(model.named_buffers())}
    prefix = f"{model.base_model_prefix}."
    for name in () if inventory is None else inventory.tensors:
        is_there = name in there or f"{prefix}{name}" in there
        if not is_there and any(re.search(pattern, name) for pattern in patterns):
            yield name


def _listed(names: list[str]) -> str:
    shown = ", ".join(quoted(name) for name in names[:_SHOWN])
    more = len(names) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _missing_but_ignored(model: PreTrainedModel, inventory: Inventory | None) -> Iterator[str]:
    """Find parameters whose absence an architecture tells Transformers not to mention."""
    # Made for weights that are tied or computed; but a pattern also hides a weight that is really
    # gone, and would then be random numbers.
    patterns = model._keys_to_ignore_on_load_missing or ()  # pyright: ignore[reportPrivateUsage]
    if inventory is None or not patterns:
        return
    for name, _ in model.named_parameters():
        if any(re.search(pattern, name) for pattern in patterns) and not any(
            stored in (name, name.removeprefix(f"{model.base_model_prefix}."))
            for stored in inventory.tensors
        ):
            yield name
