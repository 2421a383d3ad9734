"""A model's files in safetensors, with each weight's place, before any is read."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers.utils.hub import cached_file, get_checkpoint_shard_files

from backlight.errors import ModelError, quoted
from backlight.models.loading.inventory import FORMATS, Inventory
from backlight.models.loading.pretrained import inventory_of, is_quantized, read_configuration
from backlight.models.loading.reading import telling
from backlight.models.loading.source import Source
from backlight.models.passing_weights import Place, StoredWeights
from backlight.models.versions import require

_NAMES = ("model.safetensors", "model.safetensors.index.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredModel:
    """A model as its files hold it.

    Attributes:
        source: Where it comes from.
        config: Its configuration.
        inventory: The tensors of its files.
    """

    source: Source
    config: Any
    inventory: Inventory


def find_stored(source: Source) -> StoredModel:
    """Look through a model's files, which are fetched if need be.

    Args:
        source: The model.

    Returns:
        What they hold.

    Raises:
        ModelError: If they cannot be found, or are damaged, or Transformers is too old for it.
    """
    require("5.4", "--memory")
    config = read_configuration(source)
    if source.folder is None:
        _fetch(source)
    inventory = inventory_of(source, config)
    if inventory is None:
        raise ModelError(f"{source.failed}: its files are not in the cache of the hub.")
    return StoredModel(source=source, config=config, inventory=inventory)


def refuse_unreadable_blocks(stored: StoredModel) -> None:
    """Refuse files from which no single block's weights can be read.

    Args:
        stored: The model.

    Raises:
        ModelError: If they are quantised, or not in safetensors.
    """
    name, remedy = stored.source.name, "Measure the whole model (without --memory)"
    if is_quantized(stored.config):
        raise ModelError(
            f"The weights of {name} are quantised, so they cannot be read block by block. {remedy}."
        )
    pickled = sorted({file.name for file in stored.inventory.files.values() if _is_pickled(file)})
    if pickled:
        raise ModelError(
            f"The weights of {name} are pickled ({quoted(pickled[0])}), so they cannot be read "
            f"block by block. Save the model as safetensors, or measure the whole model."
        )


def stored_weights(
    stored: StoredModel, model: Any, dtype: torch.dtype
) -> tuple[StoredWeights, Mapping[str, Any]]:
    """Find the place of every weight of a model, and what does not fit.

    Args:
        stored: Its files.
        model: The model, without weights.
        dtype: The number format in which they are wanted.

    Returns:
        The weights, and what Transformers tells of a loading (``output_loading_info``).

    Raises:
        ModelError: If weights have other names in the files than in the model.
    """
    own = dict(model.named_parameters(remove_duplicate=False))
    buffers = dict(model.named_buffers(remove_duplicate=False))
    tables = {name: buffers[name] for name in model.state_dict() if name in buffers}
    shaped = {**own, **tables}
    places: dict[str, Place] = {}
    unexpected: list[str] = []
    for name, key, is_made in _renamed(stored.inventory, model):
        if key not in shaped or is_made:
            unexpected.append(name)
        else:
            tensor, file = stored.inventory.tensors[name], stored.inventory.files[name]
            places[key] = Place(file=file, name=name, dtype=FORMATS.get(tensor.format))
    missing = _missing(own, places) | (tables.keys() - places.keys())
    if missing and unexpected:
        raise ModelError(_about_names(stored.source.name, min(missing), min(unexpected)))
    told = {
        "missing_keys": missing,
        "unexpected_keys": {key for key in unexpected if not _is_computed(key, buffers)},
        "mismatched_keys": [
            (key, stored.inventory.tensors[place.name].shape, tuple(shaped[key].shape))
            for key, place in places.items()
            if stored.inventory.tensors[place.name].shape != tuple(shaped[key].shape)
        ],
        "error_msgs": [],
    }
    return StoredWeights(places=places, dtype=dtype), told


def _renamed(inventory: Inventory, model: Any) -> Iterator[tuple[str, str, bool]]:
    """Find the names that tensors have in a model, as Transformers does.

    Args:
        inventory: What the files hold.
        model: The model.

    Yields:
        The name of each in the files, that in the model, and whether Transformers would make
        another tensor of it (stack experts, turn a matrix).
    """
    # Imported here, as versions of Transformers before 5.0 have none of it.
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import (
        WeightConverter,
        WeightRenaming,
        dot_natural_key,
        rename_source_key,
    )

    known, prefix = model.state_dict(), model.base_model_prefix
    mapping: Any = get_model_conversion_mapping(model)
    renamings = [each for each in mapping if isinstance(each, WeightRenaming)]
    converters = [each for each in mapping if isinstance(each, WeightConverter)]
    for name in sorted(inventory.tensors, key=dot_natural_key):
        key, made_by = rename_source_key(name, renamings, converters, prefix, known)
        if key not in known and name in known:
            key, made_by = rename_source_key(name, [], [], prefix, known)
        yield name, key, made_by is not None


def _missing(own: Mapping[str, Any], places: Mapping[str, Place]) -> set[str]:
    """Find the weights that are in no file under any of their names."""
    there = {id(own[name]) for name in places if name in own}
    return {name for name, each in own.items() if id(each) not in there}


def _is_computed(name: str, buffers: Mapping[str, Any]) -> bool:
    """Whether older files hold a table that is computed today."""
    tables = ("rotary_emb.inv_freq", "position_ids")
    return any(
        name.endswith(table) and any(each.endswith(table) for each in buffers) for table in tables
    )


def _about_names(name: str, missing: str, unexpected: str) -> str:
    return (
        f"The files of {name} hold {quoted(unexpected)} and not {quoted(missing)}: either "
        "Transformers makes one out of several as it loads them (it stacks experts), so that they "
        "cannot be read block by block, or they belong to another model. Measure the whole model "
        "(without --memory)."
    )


def _is_pickled(file: Path) -> bool:
    return file.suffix != ".safetensors"


def _fetch(source: Source) -> None:
    """Fetch the weights of a model of the hub into the cache."""
    options = {key: source.options[key] for key in ("revision", "local_files_only")}
    with telling(source.failed, unfetched=source.unfetched):
        for name in _NAMES:
            found = cached_file(
                source.path,
                name,
                **options,
                _raise_exceptions_for_missing_entries=False,
            )
            if found is not None and name.endswith(".json"):
                get_checkpoint_shard_files(source.path, found, **options)
            if found is not None:
                return
    raise ModelError(
        f"{source.name} has no weights in safetensors, so they cannot be read block by block. "
        "Measure the whole model (without --memory)."
    )
