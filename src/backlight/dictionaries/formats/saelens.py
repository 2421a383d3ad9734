"""SAELens: ``cfg.json`` with ``sae_weights.safetensors``, of version 6 and of those before it."""

import logging
from collections.abc import Mapping
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import Any, final

import torch
from torch import Tensor

from backlight.dictionaries.activations import Activation, Gated, Relu, Threshold, TopK
from backlight.dictionaries.dictionary import Card, Dictionary, LinearEncoder, NormalizedEncoder
from backlight.dictionaries.formats.base import Format
from backlight.dictionaries.formats.files import open_weights
from backlight.dictionaries.formats.saelens_config import (
    AUTOENCODERS,
    CONFIG,
    TRANSCODERS,
    card_of,
    modernised,
    settings_of,
)
from backlight.dictionaries.formats.settings import Settings
from backlight.dictionaries.formats.weights import Weights, fold_norms
from backlight.dictionaries.formats.writing import encoder_bias, write_json, write_tensors
from backlight.dictionaries.normalization import Normalization
from backlight.errors import DictionaryError, quoted

_WEIGHTS = "sae_weights.safetensors"
_LAYOUT_VERSION = "6.0.0"  # without it, or below, SAELens takes the configuration for an old one

_UNKNOWN_SCALE = "expected_average_only_in"
_NORMALIZATIONS: Mapping[str, Normalization] = MappingProxyType(
    {
        "none": "none",
        "layer_norm": "layer_norm",
        "constant_norm_rescale": "constant_norm",
        _UNKNOWN_SCALE: "none",
    }
)
_FACTORS = ("scaling_factor", "finetuning_scaling_factor")
_logger = logging.getLogger(__name__)


@final
class SAELens(Format):
    """Dictionaries that SAELens trained or converted."""

    def recognises(self, file: PurePath) -> bool:
        """See ``Format``."""
        return file.name == _WEIGHTS

    def card(self, file: Path) -> Card:
        """See ``Format``."""
        return card_of(settings_of(file), file)

    def read(self, file: Path, *, dtype: torch.dtype, device: torch.device) -> Dictionary:
        """See ``Format``."""
        settings = settings_of(file)
        card = card_of(settings, file)
        with open_weights(file, dtype=dtype, device=device) as weights:
            return _dictionary(settings, weights, card)


def knows(told: Mapping[str, Any]) -> bool:
    """Return whether the configuration of an object in memory is one of SAELens that is read."""
    return told.get("architecture") in (*AUTOENCODERS, *TRANSCODERS) and "d_sae" in told


def read_held(settings: Settings, weights: Weights) -> Dictionary:
    """Read an object in memory.

    Args:
        settings: What its ``cfg.to_dict()`` gives.
        weights: Its ``state_dict()``.

    Returns:
        The dictionary.

    Raises:
        DictionaryError: If it contradicts itself.
    """
    if "metadata" not in settings.values:  # version 5 keeps it all in one place
        settings = modernised(settings)
    card = card_of(settings, weights.path / _WEIGHTS)
    return _dictionary(settings, weights, card)


def write(
    dictionary: Dictionary,
    folder: Path,
    *,
    model_name: str,
    hook_name: str,
    hf_hook_name: str | None = None,
    notes: Mapping[str, Any] = MappingProxyType({}),
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write an autoencoder so that SAELens 6 reads it.

    Args:
        dictionary: What to write; its encoder is linear.
        folder: Where; it is made if needed.
        model_name: The model it was trained on.
        hook_name: The site, as TransformerLens calls it, such as ``blocks.3.hook_mlp_out``.
        hf_hook_name: The site's module in Transformers.
        notes: More to keep in the metadata, such as how it was trained; plain JSON values.
        dtype: The number format of the file.

    Raises:
        DictionaryError: If SAELens has no kind that could hold it.
        StorageError: If it cannot be written.
    """
    encoder = dictionary.encoder
    if not isinstance(encoder, LinearEncoder) or dictionary.skip is not None:
        raise DictionaryError("Only an autoencoder with a linear encoder is written for SAELens.")
    kind, parameters = _written_activation(encoder.activation, len(encoder.bias))
    subtracts = encoder.input_bias is not None
    names = {ours: theirs for theirs, ours in _NORMALIZATIONS.items() if theirs != _UNKNOWN_SCALE}
    metadata = {
        "sae_lens_version": _LAYOUT_VERSION,
        "model_name": model_name,
        "hook_name": hook_name,
        "hf_hook_name": hf_hook_name,
        "neuronpedia_id": dictionary.card.neuronpedia,
        **notes,
    }
    config = {
        "architecture": kind,
        "d_in": dictionary.rows.shape[1],
        "d_sae": dictionary.num_features,
        "dtype": str(dtype).removeprefix("torch."),
        "device": "cpu",
        "apply_b_dec_to_input": subtracts,
        "normalize_activations": names[dictionary.normalization],
        "reshape_activations": "hook_z" if hook_name.endswith("hook_z") else "none",
        **{name: value for name, value in parameters.items() if not isinstance(value, Tensor)},
        "metadata": {name: value for name, value in metadata.items() if value is not None},
    }
    tensors = {
        "W_enc": encoder.rows.T,
        "W_dec": dictionary.rows,
        "b_enc": encoder_bias(dictionary, encoder, subtracts=subtracts),
        "b_dec": dictionary.bias,
        **{name: value for name, value in parameters.items() if isinstance(value, Tensor)},
    }
    write_json(folder / CONFIG, config)
    write_tensors(folder / _WEIGHTS, tensors, dtype=dtype)  # last: it is what is looked for


def _written_activation(
    activation: Activation, num_features: int
) -> tuple[str, dict[str, int | Tensor]]:
    if isinstance(activation, Relu):
        return "standard", {}
    if isinstance(activation, TopK) and not activation.keeps_negative:
        return ("abstopk" if activation.by_size else "topk"), {"k": activation.k}
    if isinstance(activation, Threshold):
        return "jumprelu", {"threshold": activation.threshold.expand(num_features)}
    raise DictionaryError(
        f"A dictionary with the activation {type(activation).__name__} cannot be written for "
        "SAELens: only Relu, TopK without negative features, and Threshold."
    )


def _dictionary(settings: Settings, weights: Weights, card: Card) -> Dictionary:
    build = _transcoder if card.architecture in TRANSCODERS else _autoencoder
    return build(settings, weights, card)


def _autoencoder(settings: Settings, weights: Weights, card: Card) -> Dictionary:
    width, features = settings.size("d_in"), settings.size("d_sae")
    if settings.section("metadata").find("hook_head_index", int) is not None:
        raise DictionaryError(
            f"{quoted(card.path)} reads one attention head of {card.reads}; backlight's sites are "
            "whole tensors, so use a dictionary of all heads."
        )
    rows = weights.matrix("W_dec", features, width)
    encoder_rows = weights.matrix("W_enc", features, width, transposed=True)
    bias = weights.vector("b_dec", width)
    is_gated = card.architecture == "gated"  # its biases stand in the activation function
    encoder_bias = bias.new_zeros(features) if is_gated else weights.vector("b_enc", features)
    if settings.find("rescale_acts_by_decoder_norm", bool) and "topk" in card.architecture:
        fold_norms(rows, encoder_rows, encoder_bias)
    _fold_scaling_factor(settings, weights, rows)
    subtracts = settings.find("apply_b_dec_to_input", bool)
    return Dictionary(
        encoder=LinearEncoder(
            rows=encoder_rows,
            bias=encoder_bias,
            input_bias=None if subtracts is False else bias,
            activation=_activation(settings, weights, card.architecture),
        ),
        rows=rows,
        bias=bias,
        normalization=_normalization(settings),
        card=card,
    )


def _transcoder(settings: Settings, weights: Weights, card: Card) -> Dictionary:
    width, features = settings.size("d_in"), settings.size("d_sae")
    output_width = settings.size("d_out")
    linear = LinearEncoder(
        rows=weights.matrix("W_enc", features, width, transposed=True),
        bias=weights.vector("b_enc", features),
        input_bias=None,
        activation=_activation(settings, weights, card.architecture),
    )
    normalization = _normalization(settings)
    has_skip = "skip" in card.architecture
    return Dictionary(
        encoder=linear
        if normalization == "none"
        else NormalizedEncoder(encoder=linear, normalization=normalization),
        rows=weights.matrix("W_dec", features, output_width),
        bias=weights.vector("b_dec", output_width),
        skip=weights.matrix("W_skip", output_width, width) if has_skip else None,
        card=card,
    )


def _activation(settings: Settings, weights: Weights, architecture: str) -> Activation:
    features = settings.size("d_sae")
    if "jumprelu" in architecture:
        return Threshold(threshold=weights.vector("threshold", features))
    if architecture == "gated":
        return Gated(
            gate_bias=weights.vector("b_gate", features),
            magnitude_scale=weights.vector("r_mag", features).exp_(),
            magnitude_bias=weights.vector("b_mag", features),
        )
    if "topk" in architecture:
        k = settings.size("k", most=features)
        return TopK(k=k, by_size=architecture == "abstopk")
    return Relu()


def _normalization(settings: Settings) -> Normalization:
    name = settings.choice("normalize_activations", tuple(_NORMALIZATIONS), otherwise="none")
    if name == _UNKNOWN_SCALE:
        _logger.warning(
            "%s was trained on activations scaled to an average norm, and the scale is not in its "
            "files: activations are encoded as they are, as SAELens does.",
            settings.path.parent,
        )
    return _NORMALIZATIONS[name]


def _fold_scaling_factor(settings: Settings, weights: Weights, rows: Tensor) -> None:
    """Multiply the rows by what features were multiplied by after a fine-tuning (before 6)."""
    name = next((name for name in _FACTORS if name in weights.names), None)
    if name is None:
        return
    factor = weights.vector(name, rows.shape[0])
    if settings.find("finetuning_scaling_factor", bool):
        rows.mul_(factor[:, None])
    elif not torch.allclose(factor, torch.ones_like(factor)):
        raise DictionaryError(
            f"{quoted(weights.path)} holds a {quoted(name)} that is not 1, while "
            f"{quoted(settings.path)} does not say that it was fine-tuned; one of them is wrong."
        )
