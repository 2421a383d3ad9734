"""Configuration, tokenizer and weights of a pretrained model, as its files say, or refused."""

import copy
import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_MAPPING_NAMES,
)

from backlight.errors import ModelError, quoted
from backlight.foreign.files import MEGABYTE
from backlight.foreign.hub import local_only
from backlight.models.loading.inventory import Inventory, check_experts, take_inventory
from backlight.models.loading.older import format_option, refuse_tied_away
from backlight.models.loading.reading import telling
from backlight.models.loading.source import Source, read_object
from backlight.models.loading.weights import check_formats, check_loaded, check_size

_logger = logging.getLogger(__name__)
_PROBE = "Once upon a time, 12.5 naïve cats' purring\n\n\tended:  if (x != y) { 日本 } …"
_AS_WRITTEN = ("TokenizersBackend", "PreTrainedTokenizerFast")


def read_configuration(source: Source) -> Any:
    """Read a model's configuration, the smallest file: what cannot be reached is known at once.

    Args:
        source: The model.

    Returns:
        The configuration of a causal language model.

    Raises:
        ModelError: If there is none, or it is that of another kind of model, or names two.
    """
    with telling(source.failed, unfetched=source.unfetched):
        config = AutoConfig.from_pretrained(source.path, **source.options)
    if _loader_of(config) is None:
        raise ModelError(
            f"{source.name} is a {quoted(config.model_type)[1:-1]} model, not a causal language "
            "model: backlight measures the next-token loss."
        )
    _check_architecture(config, source)
    return config


def _loader_of(config: Any) -> Any:
    """Choose what builds a model: of a vision-language model, its text decoder is measured.

    Args:
        config: Its configuration.

    Returns:
        A class of Transformers with ``from_pretrained``; None if it is no decoder of text.
    """
    own_code = "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {})
    if own_code or _builds(AutoModelForCausalLM, config):
        return AutoModelForCausalLM
    reads_images = _builds(AutoModelForImageTextToText, config)
    return AutoModelForImageTextToText if reads_images and not _is_translator(config) else None


def _builds(kind: Any, config: Any) -> bool:
    return type(config) in kind._model_mapping


def _is_translator(config: Any) -> bool:
    """Whether an encoder reads what a decoder writes about."""
    return bool(getattr(config.get_text_config(), "is_encoder_decoder", False))


def _check_architecture(config: Any, source: Source) -> None:
    """Refuse a configuration whose model_type and architectures mean different models.

    Args:
        config: The configuration.
        source: The model.

    Raises:
        ModelError: If they do. Only names that Transformers knows are compared.
    """
    given = getattr(config, "architectures", None)
    for name in given if isinstance(given, list) else []:
        types = {
            model_type.removesuffix("_text")
            for names in (MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_MAPPING_NAMES)
            for model_type, known in names.items()
            if known == name
        }
        if types and config.model_type.removesuffix("_text") not in types:
            raise ModelError(
                f"The config.json of {source.name} contradicts itself: its model_type is "
                f"{quoted(config.model_type)}, but its architectures name {name}. Its weights "
                "would be read as those of another model."
            )


def read_tokenizer(source: Source) -> tuple[Any, dict[str, str]]:
    """Read a model's tokenizer.

    Transformers builds the tokenizer of some architectures anew, from the words alone, even where
    ``tokenizer.json`` splits text in another way. Where the files say that ``tokenizer.json`` is
    to be taken as it is, it is; where they name a class that reads otherwise, that is told.

    Args:
        source: The model.

    Returns:
        The tokenizer, and what reports should say of it.

    Raises:
        ModelError: If there is none, or it cannot be read.
    """
    with telling(f"The tokenizer of {source.failed}", unfetched=source.unfetched):
        tokenizer: Any = AutoTokenizer.from_pretrained(source.path, **source.options)
        path = source.find("tokenizer.json")
        if path is None or _reads_alike(tokenizer, path):
            return tokenizer, {}
        if _declared(source) in _AS_WRITTEN:
            plain = PreTrainedTokenizerFast.from_pretrained(source.path, **source.options)
            if _reads_alike(plain, path):
                return plain, {}
    kind = type(tokenizer).__name__
    _logger.warning(
        "Transformers takes the tokenizer of %s for a %s, which reads text otherwise than its "
        "tokenizer.json does: see tokenizer_class in its tokenizer_config.json.",
        source.name,
        kind,
    )
    return tokenizer, {"tokenizer": f"{kind}, which reads text otherwise than tokenizer.json"}


def _declared(source: Source) -> object:
    path = source.find("tokenizer_config.json")
    return None if path is None else read_object(path, most=16 * MEGABYTE).get("tokenizer_class")


def _reads_alike(tokenizer: Any, path: Path) -> bool:
    """Compare a tokenizer with the file, on a text and on words of its own."""
    raw = Tokenizer.from_file(str(path))
    raw.no_truncation()
    raw.no_padding()
    size = raw.get_vocab_size()
    words = raw.decode(list(range(0, size, max(1, size // 50))))
    return all(
        raw.encode(text, add_special_tokens=False).ids
        == list(tokenizer(text, add_special_tokens=False)["input_ids"])
        for text in (_PROBE, words)
    )


def read_model(
    source: Source, config: Any, *, dtype: torch.dtype | None, **options: Any
) -> tuple[PreTrainedModel, dict[str, str]]:
    """Read a model's weights, all of them, from its files.

    Args:
        source: The model.
        config: Its configuration.
        dtype: The number format of the weights; None for the narrowest that loses nothing of what
            is stored.
        **options: More for Transformers, such as ``attn_implementation``.

    Returns:
        The model, and what reports should say of its weights.

    Raises:
        ModelError: If weights are missing, damaged or of another shape.
    """
    inventory = inventory_of(source, config) if source.folder is not None else None
    if inventory is not None and not (is_quantized(config) or source.options["trust_remote_code"]):
        _check_before(source, config, inventory)
    build = partial(_from_files, source, _loader_of(config), options=options)
    model, told = build(dtype or _dtype_of(inventory, config))
    if inventory is None:
        inventory = inventory_of(source, config)
        if dtype is None and model.dtype != _dtype_of(inventory, config):
            model, told = build(_dtype_of(inventory, config))
    facts = check_loaded(model, told, inventory, source.name)
    if inventory is not None:
        refuse_tied_away(model, inventory, source.name)
    return model, facts if source.commit is None else {**facts, "revision": source.commit}


def _from_files(
    source: Source, loader: Any, dtype: torch.dtype | str, *, options: Mapping[str, Any]
) -> tuple[PreTrainedModel, Mapping[str, Any]]:
    # An adapter is looked for on the hub whatever ``local_files_only`` says.
    is_local = source.unreachable is not None
    with telling(source.failed, unfetched=source.unfetched), local_only(is_local):
        loaded: Any = loader.from_pretrained(
            source.path,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # else they are an error that does not name them
            **format_option(dtype),
            **options,
            **source.options,
        )
        return loaded


def inventory_of(source: Source, config: Any) -> Inventory | None:
    """Look through a model's files; None for one of the hub whose files are not in the cache.

    Args:
        source: The model.
        config: Its configuration.

    Returns:
        What the files hold.
    """
    with telling(source.failed):
        known = source.find("config.json")
    if known is None:
        return None
    chosen = getattr(config, "transformers_weights", None)
    found = take_inventory(known.parent, chosen=chosen if isinstance(chosen, str) else None)
    check_experts(found, source.name)
    return found


def _dtype_of(inventory: Inventory | None, config: Any) -> torch.dtype | str:
    return "auto" if inventory is None or is_quantized(config) else inventory.dtype


def is_quantized(config: Any) -> bool:
    """Whether a configuration says that the weights are quantised."""
    return getattr(config, "quantization_config", None) is not None


def _check_before(source: Source, config: Any, inventory: Inventory) -> None:
    """Compare a configuration with the files before memory is taken for it.

    Args:
        source: The model.
        config: Its configuration.
        inventory: What its files hold.

    Raises:
        ModelError: If it has more layers than there are weights, or far more numbers, or weights
            are stored as what cannot be read.
    """
    layers = getattr(config.get_text_config(), "num_hidden_layers", 0)
    if layers > len(inventory.tensors):
        raise ModelError(
            f"The config.json of {source.name} asks for {layers} layers, but its files hold only "
            f"{len(inventory.tensors)} weights. The two do not belong together."
        )
    with telling(source.failed), torch.device("meta"):
        blank = _loader_of(config).from_config(copy.deepcopy(config))
    check_size(blank, inventory, source.name)
    check_formats(blank, inventory, source.name)
