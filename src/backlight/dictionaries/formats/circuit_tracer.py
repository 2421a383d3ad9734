"""circuit-tracer: ``config.yaml`` with ``layer_{i}.safetensors``, a transcoder for each layer.

A cross-layer transcoder (``W_enc_{i}.safetensors``, ``W_dec_{i}.safetensors``) is known by its
configuration and refused: its features write at many sites.
"""

import re
from pathlib import Path, PurePath
from typing import final

import torch

from backlight.dictionaries.activations import Activation, Relu, Threshold
from backlight.dictionaries.dictionary import Card, Dictionary, LinearEncoder
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
            return _dictionary(weights, card)


def _card(settings: Settings, file: Path) -> Card:
    match = _FILE.fullmatch(file.name)
    assert match is not None, "card() is asked for files that recognises() takes"
    kind = settings.choice("model_kind", tuple(_KINDS.values()))
    if kind != _KINDS[match["kind"]]:
        raise DictionaryError(
            f"model_kind in {quoted(settings.path)} is {kind}, but {quoted(file.name)} beside it "
            f"is a file of a {_KINDS[match['kind']]}; one of them belongs elsewhere."
        )
    if kind == "cross_layer_transcoder":
        raise DictionaryError(
            f"{quoted(file.parent)} is a cross-layer transcoder: each of its features writes at "
            "its own layer and at all later ones, and backlight measures dictionaries that write "
            "at one site. Use transcoders of single layers (model_kind: transcoder_set)."
        )
    layer = int(match["layer"])
    return Card(
        format="circuit-tracer",
        path=str(file),
        architecture="transcoder",
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
            activation=_activation(weights, features),
        ),
        rows=weights.matrix("W_dec", features, width),
        bias=weights.vector("b_dec", width),
        skip=weights.matrix("W_skip", width, width) if "W_skip" in weights.names else None,
        card=card,
    )


def _activation(weights: Weights, features: int) -> Activation:
    if _UNREAD in weights.names:
        raise DictionaryError(
            f"{quoted(weights.path)} holds {quoted(_UNREAD)}, which circuit-tracer does not read "
            f"either; save the thresholds themselves as {_THRESHOLD}."
        )
    if _THRESHOLD in weights.names:
        return Threshold(threshold=weights.vector(_THRESHOLD, features))
    return Relu()
