"""A stored model as a proven subject whose blocks read their weights when they run."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from backlight.errors import ModelError, quoted
from backlight.models.blocks.rerun import Blocks
from backlight.models.blocks.weights import (
    StoredWeights,
    WeightBytes,
    let_weights_pass,
    weight_bytes,
)
from backlight.models.loading.blank import blank_model
from backlight.models.loading.loaded import describe
from backlight.models.loading.native import native_of
from backlight.models.loading.pretrained import read_tokenizer
from backlight.models.loading.reading import telling
from backlight.models.loading.stored import StoredModel, refuse_unreadable_blocks, stored_weights
from backlight.models.loading.subjects import note_of, subject_of_family
from backlight.models.loading.weights import check_formats, check_loaded, check_size
from backlight.models.passing_blocks import PassingBlocks
from backlight.models.subject import Subject
from backlight.models.wiring.families import find_family


def load_passing_subject(
    stored: StoredModel, *, dtype: torch.dtype | None = None, attn_implementation: str | None = None
) -> tuple[Subject, WeightBytes]:
    """Load a model of the table of families so that one block's weights at a time are in memory.

    Everything that is proven of a whole model is proven of this one, too, in passes in which the
    weights come and go.

    Args:
        stored: The model's files.
        dtype: The number format of the weights; None for the format they are stored in, in which
            they need no memory of their own (they are views of the file).
        attn_implementation: The attention kernel, such as ``eager`` or ``sdpa``.

    Returns:
        The proven subject, on the CPU, and what its weights take.

    Raises:
        ModelError: If the architecture is not in the table, the files are not in safetensors, or a
            weight is not stored as the model holds it (experts that are stacked at load).
        FamilyProofError: If the table does not hold for it.
    """
    source, config, inventory = stored.source, stored.config, stored.inventory
    family = find_family(config)
    if family is None:
        raise ModelError(
            f"{source.name} is no architecture of the table, so it cannot be measured block by "
            "block. Measure the whole model (without --memory)."
        )
    refuse_unreadable_blocks(stored)
    tokenizer, about_tokenizer = read_tokenizer(source)
    dtype = dtype or inventory.dtype
    with telling(source.failed):
        model = blank_model(config, source.name, dtype=dtype, kernel=attn_implementation)
    check_size(model, inventory, source.name)
    check_formats(model, inventory, source.name)
    weights, told = stored_weights(stored, model, dtype)
    about_weights = check_loaded(
        model, told, inventory, source.name, weights=_one_by_one(model, weights)
    )
    _refuse_untied(model, weights, source.name)
    modules = tuple(model.get_submodule(family.blocks))
    sizes = weight_bytes(model, modules, weights)
    holding = let_weights_pass(model, modules, weights)
    _fill_tables(model, weights)
    commit = {} if source.commit is None else {"revision": source.commit}
    sample = (each for _, each in _one_by_one(model, weights, few=True))
    facts = {**describe(model, sample), **about_weights, **commit, **about_tokenizer}
    facts |= note_of(source)
    with telling(f"{quoted(source.name)[1:-1]} cannot read a few tokens"):
        subject = subject_of_family(model, tokenizer, family, source.name, facts)
        blocks = Blocks.of(subject)
    passing = PassingBlocks(modules=blocks.modules, num_members=blocks.num_members, holding=holding)
    return replace(subject, native=native_of(model), passing=passing), sizes


def _one_by_one(
    model: nn.Module, weights: StoredWeights, *, few: bool = False
) -> Iterator[tuple[str, Tensor]]:
    """Read one weight after the other, or a few numbers of each."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    for parameter in model.parameters():
        stored = weights.stored_name(names[id(parameter)])
        if parameter.is_meta:
            tensor = weights.read([stored], prepare=_few if few else None)[stored]
        else:
            tensor = parameter.detach()
        yield names[id(parameter)][0], tensor


def _few(tensor: Tensor) -> Tensor:
    return tensor.flatten()[:8]


def _refuse_untied(model: Any, weights: StoredWeights, name: str) -> None:
    """Refuse files in which weights that the configuration ties are different ones."""
    for target, origin in model.all_tied_weights_keys.items():
        if target in weights.places and origin in weights.places:
            read = weights.read([target, origin])
            if not torch.equal(read[target], read[origin]):
                raise ModelError(
                    f"The config.json of {name} says that {quoted(target)} is {quoted(origin)}, "
                    "but its files hold two different ones. Set tie_word_embeddings to false."
                )


def _fill_tables(model: nn.Module, weights: StoredWeights) -> None:
    """Fill tables that are stored, too, such as masks of older files."""
    for name, buffer in model.named_buffers():
        if name in weights.places:
            place = weights.places[name]
            stored = StoredWeights(places={name: place}, dtype=buffer.dtype).read([name])[name]
            buffer.copy_(stored)
