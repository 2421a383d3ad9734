"""circuit-tracer: ``config.yaml`` with ``layer_{i}.safetensors``, a transcoder for each layer.

A cross-layer transcoder has two files for each layer, ``W_enc_{i}.safetensors`` with the encoder
and the bias of the layer's own site, ``W_dec_{i}.safetensors`` with rows for all layers from i on.
"""

import re
from pathlib import Path, PurePath
from typing import final

import torch

from backlight.dictionaries.activations import Activation, Relu, Threshold
from backlight.dictionaries.dictionary import CROSS_LAYER, Card, Dictionary, LinearEncoder
from backlight.dictionaries.formats.base import Format
from backlight.dictionaries.formats.files import open_weights
from backlight.dictionaries.formats.settings import Settings, read_settings
from backlight.dictionaries.formats.weights import Weights
from backlight.errors import DictionaryError, quoted

_CONFIG = "config.yaml"
_FILE = re.compile(r"(?P<kind>layer|W_enc)_(?P<layer>\d{1,4})\.safetensors")
_KINDS = {"layer": "transcoder_set", "W_enc": "cross_layer_transcoder"}
# TransformerLens' names of a module's two sides, which have no place among the names of sites.
_SIDES = {"mlp.hook_in": "mlp.in", "mlp.hook_out": "mlp.out"}
_THRESHOLD, _UNREAD = "activation_function.threshold", "log_thresholds"


@final
class CircuitTracer(Format):
    """Transcoders in circuit-tracer's own layout."""

    def recognises(self, file: PurePath) -> bool:
        """See ``Format``."""
        return _FILE.fullmatch(file.name) is not None

    def card(self, file: Path) -> Card:
        """See ``Format``."""
        return _card(read_settings(file.parent / _CONFIG), file)

    def read(self, file: Path, *, dtype: torch.dtype, device: torch.device) -> Dictionary:
        """See ``Format``."""
        card = self.card(file)
        with open_weights(file, dtype=dtype, device=device) as weights:
            if not card.is_cross_layer:
                return _dictionary(weights, card)
            with open_weights(Path(decoder_of(file)), dtype=dtype, device=device) as decoder:
                return _cross_layer(weights, decoder, card)


def decoder_of(file: PurePath) -> PurePath:
    """Name the file that holds the decoder, which with cross-layer transcoders is another one."""
    match = _FILE.fullmatch(file.name)
    across = match is not None and match["kind"] == "W_enc"
    return file.with_name(file.name.replace("W_enc", "W_dec")) if across else file


def _card(settings: Settings, file: Path) -> Card:
    match = _FILE.fullmatch(file.name)
    assert match is not None, "card() is asked for files that recognises() takes"
    kind = settings.choice("model_kind", tuple(_KINDS.values()))
    if kind != _KINDS[match["kind"]]:
        raise DictionaryError(
            f"model_kind in {quoted(settings.path)} is {kind}, but {quoted(file.name)} beside it "
            f"is a file of a {_KINDS[match['kind']]}; one of them belongs elsewhere."
        )
    layer = int(match["layer"])
    return Card(
        format="circuit-tracer",
        path=str(file),
        architecture=CROSS_LAYER if kind == "cross_layer_transcoder" else "transcoder",
        reads=_site(settings.need("feature_input_hook", str), layer),
        writes=_site(settings.need("feature_output_hook", str), layer),
        layer=layer,
        model=settings.find("model_name", str),
    )


def _site(hook: str, layer: int) -> str:
    """Name the site of one layer that a hook of all layers means."""
    return f"layers.{layer}.{_SIDES[hook]}" if hook in _SIDES else f"blocks.{layer}.{hook}"


def _dictionary(weights: Weights, card: Card) -> Dictionary:
    features, width = weights.length("b_enc"), weights.length("b_dec")
    return Dictionary(
        encoder=LinearEncoder(
            rows=weights.matrix("W_enc", features, width),
            bias=weights.vector("b_enc", features),
            input_bias=None,
            activation=_activation(weights, _THRESHOLD, features),
        ),
        rows=weights.matrix("W_dec", features, width),
        bias=weights.vector("b_dec", width),
        skip=weights.matrix("W_skip", width, width) if "W_skip" in weights.names else None,
        card=card,
    )


def _cross_layer(weights: Weights, decoder: Weights, card: Card) -> Dictionary:
    layer = card.layer
    features, width = weights.length(f"b_enc_{layer}"), weights.length(f"b_dec_{layer}")
    if (skip := f"W_skip_{layer}") in weights.names:
        raise DictionaryError(
            f"{quoted(weights.path)} holds {quoted(skip)}, which circuit-tracer does not read "
            "either: its cross-layer transcoders on disk have no skip connection."
        )
    rows = decoder.rows_side_by_side(f"W_dec_{layer}", features, width)
    bias = rows.new_zeros(rows.shape[1])
    bias[:width] = weights.vector(f"b_dec_{layer}", width)
    return Dictionary(
        encoder=LinearEncoder(
            rows=weights.matrix(f"W_enc_{layer}", features, width),
            bias=weights.vector(f"b_enc_{layer}", features),
            input_bias=None,
            activation=_activation(weights, f"threshold_{layer}", features),
        ),
        rows=rows,
        bias=bias,
        card=card,
    )


def _activation(weights: Weights, threshold: str, features: int) -> Activation:
    if _UNREAD in weights.names:
        raise DictionaryError(
            f"{quoted(weights.path)} holds {quoted(_UNREAD)}, which circuit-tracer does not read "
            f"either; save the thresholds themselves as {threshold}."
        )
    if threshold in weights.names:
        return Threshold(threshold=weights.vector(threshold, features))
    return Relu()
