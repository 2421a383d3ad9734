"""Configuration, tokenizer and weights of a pretrained model, each as its files say, or refused."""

import copy
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer as RawTokenizer
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_MAPPING_NAMES,
)
from transformers.utils.hub import cached_file

from backlight.errors import ModelError, quoted
from backlight.models.loading.inventory import Inventory, take_inventory
from backlight.models.loading.reading import telling
from backlight.models.loading.weights import check_formats, check_loaded, check_size

__all__ = ["Source", "read_configuration", "read_model", "read_tokenizer"]

_logger = logging.getLogger(__name__)
_PROBE = "Once upon a time, 12.5 naïve cats' purring\n\n\tended:  if (x != y) { 日本 } …"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a model comes from.

    Attributes:
        name: What the user called it.
        path: What Transformers is asked for: a folder, or an id on the hub.
        folder: The folder; None for a model of the hub.
        options: ``revision`` and ``trust_remote_code``, as Transformers calls them.
    """

    name: str
    path: str
    folder: Path | None
    options: Mapping[str, Any]

    @property
    def unfetched(self) -> str | None:
        """What to say if the system cannot give it."""
        if self.folder is not None:
            return None
        return (
            f"The model {quoted(self.name)} is neither in the local cache nor could it be fetched "
            "from the hub. Check the name and the network (and, for a gated model, `hf auth "
            "login`), or name a local folder, or smollm2."
        )

    @property
    def failed(self) -> str:
        """How a sentence begins that says that something went wrong."""
        return f"{quoted(self.name)[1:-1]} cannot be loaded"

    def find(self, name: str) -> Path | None:
        """Find one of the model's files on this machine."""
        if self.folder is not None:
            path = self.folder / name
            return path if path.is_file() else None
        revision = self.options["revision"]
        found = cached_file(
            self.path,
            name,
            revision=revision,
            local_files_only=True,
            _raise_exceptions_for_missing_entries=False,
        )
        return None if found is None else Path(found)


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
    own_code = "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {})
    mapping = AutoModelForCausalLM._model_mapping  # pyright: ignore[reportPrivateUsage]
    if type(config) not in mapping and not own_code:
        raise ModelError(
            f"{source.name} is a {quoted(config.model_type)[1:-1]} model, not a causal language "
            "model: backlight measures the next-token loss."
        )
    _check_architecture(config, source)
    return config


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

    Args:
        source: The model.

    Returns:
        The tokenizer, and what reports should say of it. Where Transformers builds a tokenizer
        that reads text otherwise than ``tokenizer.json`` does, that is told in the log, too.

    Raises:
        ModelError: If there is none, or it cannot be read.
    """
    with telling(f"The tokenizer of {source.failed}", unfetched=source.unfetched):
        tokenizer = AutoTokenizer.from_pretrained(source.path, **source.options)
        path = source.find("tokenizer.json")
        ids = tokenizer(_PROBE, add_special_tokens=False)["input_ids"]
        raw = None if path is None else RawTokenizer.from_file(str(path))
    if raw is None:
        return tokenizer, {}
    raw.no_truncation()
    raw.no_padding()
    if raw.encode(_PROBE, add_special_tokens=False).ids == list(ids):
        return tokenizer, {}
    kind = type(tokenizer).__name__
    _logger.warning(
        "Transformers takes the tokenizer of %s for a %s, which reads text otherwise than its "
        "tokenizer.json does: see tokenizer_class in its tokenizer_config.json.",
        source.name,
        kind,
    )
    return tokenizer, {"tokenizer": f"{kind}, which reads text otherwise than tokenizer.json"}


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
    inventory = _inventory(source, config) if source.folder is not None else None
    if inventory is not None and not (_is_quantized(config) or source.options["trust_remote_code"]):
        _check_before(source, config, inventory)
    model, told = _from_files(source, dtype or _dtype_of(inventory, config), options)
    if inventory is None:
        inventory = _inventory(source, config)
        if dtype is None and model.dtype != _dtype_of(inventory, config):
            model, told = _from_files(source, _dtype_of(inventory, config), options)
    return model, check_loaded(model, told, inventory, source.name)


def _from_files(
    source: Source, dtype: torch.dtype | str, options: Mapping[str, Any]
) -> tuple[PreTrainedModel, Mapping[str, Any]]:
    with telling(source.failed, unfetched=source.unfetched):
        return AutoModelForCausalLM.from_pretrained(
            source.path,
            dtype=dtype,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # else they are an error that does not name them
            **options,
            **source.options,
        )


def _inventory(source: Source, config: Any) -> Inventory | None:
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
    return take_inventory(known.parent, chosen=chosen if isinstance(chosen, str) else None)


def _dtype_of(inventory: Inventory | None, config: Any) -> torch.dtype | str:
    return "auto" if inventory is None or _is_quantized(config) else inventory.dtype


def _is_quantized(config: Any) -> bool:
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
        blank = AutoModelForCausalLM.from_config(copy.deepcopy(config))
    check_size(blank, inventory, source.name)
    check_formats(blank, inventory, source.name)
