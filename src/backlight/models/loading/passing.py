"""A folder's model as a proven subject whose blocks read their weights when they run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from backlight.errors import ModelError, quoted
from backlight.models.families import find_family
from backlight.models.loading.inventory import take_inventory
from backlight.models.loading.loaded import describe
from backlight.models.loading.pretrained import read_configuration, read_tokenizer
from backlight.models.loading.reading import telling
from backlight.models.loading.source import Source, check_folder
from backlight.models.loading.subjects import subject_of_family
from backlight.models.loading.weights import check_formats
from backlight.models.passing_weights import StoredWeights, let_weights_pass, without_weights
from backlight.models.subject import Subject


def load_passing_subject(folder: Path, *, dtype: torch.dtype | None = None) -> Subject:
    """Load a model of the table of families so that one block's weights at a time are in memory.

    Everything that is proven of a whole model is proven of this one, too, in passes in which the
    weights come and go.

    Args:
        folder: A folder with safetensors.
        dtype: The number format of the weights; None for the format they are stored in, in which
            they need no memory of their own (they are views of the file).

    Returns:
        The proven subject, on the CPU.

    Raises:
        ModelError: If the architecture is not in the table, or a weight is not stored as the model
            holds it (experts that are stacked at load).
        FamilyProofError: If the table does not hold for it.
    """
    check_folder(folder)
    options = {"revision": None, "trust_remote_code": False}
    source = Source(name=str(folder), path=str(folder), folder=folder, options=options)
    config = read_configuration(source)
    family = find_family(config)
    if family is None:
        raise ModelError(
            f"{source.name} is no architecture of the table, so it cannot be measured block by "
            "block. Measure the whole model."
        )
    tokenizer, about_tokenizer = read_tokenizer(source)
    inventory = take_inventory(folder)
    dtype = dtype or inventory.dtype
    with telling(source.failed), without_weights():
        model: Any = AutoModelForCausalLM.from_config(config, dtype=dtype)
    check_formats(model, inventory, source.name)
    model.eval()
    weights = StoredWeights(places=_places(model, folder), dtype=dtype)
    let_weights_pass(model, list(model.get_submodule(family.blocks)), weights)
    facts = {**describe(model, _one_by_one(model, weights)), **about_tokenizer}
    return subject_of_family(model, tokenizer, family, source.name, facts)


def _one_by_one(model: PreTrainedModel, weights: StoredWeights) -> Iterator[Tensor]:
    for name, parameter in model.named_parameters():
        yield weights.read([name])[name] if parameter.is_meta else parameter


def _places(model: PreTrainedModel, folder: Path) -> dict[str, tuple[Path, str]]:
    """Find each weight's file, by the weight's name in the model."""
    own = dict(model.named_parameters(remove_duplicate=False))
    prefix = f"{model.base_model_prefix}."
    places: dict[str, tuple[Path, str]] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - it is no dictionary
                # Files of a bare trunk name its weights without their prefix.
                key = name if name in own else prefix + name
                if key in places:
                    raise ModelError(f"{quoted(folder)} holds {quoted(name)} in two of its files.")
                places[key] = (file, name)
    return places
