"""Gemma Scope: ``params.npz`` (1), ``params.safetensors`` with ``config.json`` (2).

Lieberum et al. 2024 (arXiv 2408.05147): JumpReLU, and nothing is subtracted from the input.
"""

import re
from pathlib import Path, PurePath
from typing import final

import torch

from backlight.dictionaries.activations import Threshold
from backlight.dictionaries.dictionary import Card, Dictionary, LinearEncoder
from backlight.dictionaries.formats.base import Format
from backlight.dictionaries.formats.files import open_weights
from backlight.dictionaries.formats.places import input_of, layer_in, module_path
from backlight.dictionaries.formats.settings import read_settings
from backlight.dictionaries.formats.weights import Weights
from backlight.errors import DictionaryError, quoted

_FIRST, _SECOND = "params.npz", "params.safetensors"
_CONFIG = "config.json"
_REPOSITORY = re.compile(r"gemma-scope-(?P<model>\d+b-(?:pt|it))-(?P<kind>res|mlp|att)(?![a-z])")
_LAYER = re.compile(r"layer_(?P<layer>\d+)$")
# MLP outputs are taken behind the norm that follows them, attention before its output projection.
_KINDS = {"res": "resid.post", "mlp": "mlp.contribution", "att": "attn.z"}


@final
class GemmaScope(Format):
    """The dictionaries that Google DeepMind trained on Gemma 2 and 3."""

    def recognises(self, file: PurePath) -> bool:
        """See ``Format``."""
        return file.name in (_FIRST, _SECOND)

    def card(self, file: Path) -> Card:
        """See ``Format``."""
        return _first_card(file) if file.name == _FIRST else _second_card(file)

    def read(self, file: Path, *, dtype: torch.dtype, device: torch.device) -> Dictionary:
        """See ``Format``."""
        with open_weights(file, dtype=dtype, device=device) as weights:
            return _dictionary(weights, self.card(file))


def _first_card(file: Path) -> Card:
    layers = [match for part in file.parts if (match := _LAYER.match(part))]
    layer = int(layers[-1]["layer"]) if layers else None
    repository = _REPOSITORY.search(str(file.parent))
    site, model = None, None
    if repository is not None:
        model = f"google/gemma-2-{repository['model'].removesuffix('-pt')}"
        site = f"layers.{layer}.{_KINDS[repository['kind']]}" if layer is not None else None
    return Card(
        format="Gemma Scope",
        path=str(file.parent),
        architecture="jumprelu",
        reads=site,
        writes=site,
        layer=layer,
        model=model,
    )


def _second_card(file: Path) -> Card:
    settings = read_settings(file.parent / _CONFIG)
    settings.choice("architecture", ("jump_relu",), otherwise="jump_relu")
    reads = _site(settings.find("hf_hook_point_in", str))
    target = settings.find("hf_hook_point_out", str)
    return Card(
        format="Gemma Scope 2",
        path=str(file.parent),
        architecture="jumprelu" if target is None else "jumprelu_transcoder",
        reads=reads,
        writes=reads if target is None else _site(target),
        layer=None if reads is None else layer_in(reads),
        model=settings.find("model_name", str),
    )


def _site(point: str | None) -> str | None:
    """Read ``model.layers.3.mlp.output``: a module's path and a side."""
    path, _, side = (point or "").rpartition(".")
    module = module_path(path)
    if module is None or side not in ("input", "output"):
        return None
    return module if side == "output" else input_of(module)


def _dictionary(weights: Weights, card: Card) -> Dictionary:
    into = "w_enc" if "w_enc" in weights.names else "W_enc"
    out = "w_dec" if "w_dec" in weights.names else "W_dec"
    sizes, outputs = weights.shape(into), weights.shape(out)
    if len(sizes) != 2 or len(outputs) != 2:
        raise DictionaryError(
            f"{quoted(into)} and {quoted(out)} in {quoted(weights.path)} are {list(sizes)} and "
            f"{list(outputs)}, but must be matrices; dictionaries across layers are not read."
        )
    (width, features), output_width = sizes, outputs[1]
    skip = "affine_skip_connection"
    return Dictionary(
        encoder=LinearEncoder(
            rows=weights.matrix(into, features, width, transposed=True),
            bias=weights.vector("b_enc", features),
            input_bias=None,
            activation=Threshold(threshold=weights.vector("threshold", features)),
        ),
        rows=weights.matrix(out, features, output_width),
        bias=weights.vector("b_dec", output_width),
        skip=weights.matrix(skip, output_width, width, transposed=True)
        if skip in weights.names
        else None,
        card=card,
    )
