"""Llama Scope: ``hyperparams.json`` with ``checkpoints/final.safetensors``.

He et al. 2024 (arXiv 2410.20526): trained on activations that were scaled to the norm
``sqrt(width)`` on average over the corpus, with TopK that became one threshold for all features.
They are read as OpenMOSS' Language-Model-SAEs prepares them for inference: both scales are folded
into the weights, decoder rows get unit norm, and only then is the threshold applied. So it is
compared with what a feature adds to the reconstruction, in the model's own units.
"""

import math
from pathlib import Path, PurePath
from typing import final

import torch

from backlight.dictionaries.activations import Activation, Relu, Threshold, TopK
from backlight.dictionaries.dictionary import Card, Dictionary, LinearEncoder
from backlight.dictionaries.formats.base import Format
from backlight.dictionaries.formats.files import open_weights
from backlight.dictionaries.formats.places import layer_in
from backlight.dictionaries.formats.settings import Settings, read_settings
from backlight.dictionaries.formats.weights import Weights, fold_norms
from backlight.errors import DictionaryError, quoted

_CONFIG, _FOLDER, _WEIGHTS = "hyperparams.json", "checkpoints", "final.safetensors"
_ACTIVATIONS = ("jumprelu", "topk", "relu")


@final
class LlamaScope(Format):
    """Dictionaries in the layout in which OpenMOSS published those of Llama 3.1."""

    def recognises(self, file: PurePath) -> bool:
        """See ``Format``."""
        return file.name == _WEIGHTS and file.parent.name == _FOLDER

    def card(self, file: Path) -> Card:
        """See ``Format``."""
        return _card(_settings(file), file)

    def read(self, file: Path, *, dtype: torch.dtype, device: torch.device) -> Dictionary:
        """See ``Format``."""
        settings = _settings(file)
        card = _card(settings, file)
        with open_weights(file, dtype=dtype, device=device) as weights:
            return _dictionary(settings, weights, card)


def _settings(file: Path) -> Settings:
    return read_settings(file.parent.parent / _CONFIG)


def _card(settings: Settings, file: Path) -> Card:
    if settings.find("use_glu_encoder", bool):
        raise DictionaryError(
            f"{quoted(file.parent.parent)} has a gated linear unit as its encoder, a kind that "
            "backlight does not read; use one without `use_glu_encoder`."
        )
    reads = settings.need("hook_point_in", str)
    writes = settings.find("hook_point_out", str) or reads
    activation = settings.choice("act_fn", _ACTIVATIONS)
    return Card(
        format="Llama Scope",
        path=str(file.parent.parent),
        architecture=activation if reads == writes else f"{activation}_transcoder",
        reads=reads,
        writes=writes,
        layer=layer_in(reads),
        model=settings.find("model_name", str),
    )


def _dictionary(settings: Settings, weights: Weights, card: Card) -> Dictionary:
    width, features = settings.size("d_model"), settings.size("d_sae")
    rows = weights.matrix("decoder.weight", features, width, transposed=True)
    scale_in, scale_out = _scales(settings, width)
    encoder_rows = weights.matrix("encoder.weight", features, width)
    encoder_bias = weights.vector("encoder.bias", features).div_(scale_in)
    rows.mul_(scale_in / scale_out)
    if settings.find("use_decoder_bias", bool) is False:
        bias = rows.new_zeros(width)
    else:
        bias = weights.vector("decoder.bias", width).div_(scale_out)
    if settings.find("sparsity_include_decoder_norm", bool):
        fold_norms(rows, encoder_rows, encoder_bias)
    if not all(bool(each.isfinite().all()) for each in (rows, encoder_rows, encoder_bias, bias)):
        raise DictionaryError(
            f"The weights in {quoted(weights.path)} overflow when they are scaled by the norms in "
            f"{quoted(settings.path)}; one of the files is wrong."
        )
    return Dictionary(
        encoder=LinearEncoder(
            rows=encoder_rows,
            bias=encoder_bias,
            input_bias=bias if settings.find("apply_decoder_bias_to_pre_encoder", bool) else None,
            activation=_activation(settings, bias.new_ones(features)),
        ),
        rows=rows,
        bias=bias,
        card=card,
    )


def _scales(settings: Settings, width: int) -> tuple[float, float]:
    """Find what inputs and outputs were multiplied by in training, over the whole corpus."""
    if settings.choice("norm_activation", ("dataset-wise", "inference")) == "inference":
        return 1.0, 1.0
    norms = settings.section("dataset_average_activation_norm")
    found = [norms.need(side, float) for side in ("in", "out")]
    if min(found) <= 0:
        raise DictionaryError(
            f"dataset_average_activation_norm in {quoted(settings.path)} is {found[0]:g} and "
            f"{found[1]:g}, but norms must be above zero; mend the file."
        )
    return math.sqrt(width) / found[0], math.sqrt(width) / found[1]


def _activation(settings: Settings, ones: torch.Tensor) -> Activation:
    kind = settings.choice("act_fn", _ACTIVATIONS)
    if kind == "relu":
        return Relu()
    threshold = settings.find("jump_relu_threshold", float)
    if kind == "topk" and not threshold:
        return TopK(k=settings.size("top_k", most=len(ones)))
    # The library, too, takes the threshold where it has one: TopK is for training.
    return Threshold(threshold=ones * settings.need("jump_relu_threshold", float))
