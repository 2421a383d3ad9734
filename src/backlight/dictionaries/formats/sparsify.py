"""sparsify (EleutherAI): ``{hookpoint}/cfg.json`` with ``{hookpoint}/sae.safetensors``."""

from pathlib import Path, PurePath
from typing import final

import torch

from backlight.dictionaries.activations import Activation, GroupMax, TopK
from backlight.dictionaries.dictionary import Card, Dictionary, LinearEncoder
from backlight.dictionaries.formats.base import Format
from backlight.dictionaries.formats.files import open_weights
from backlight.dictionaries.formats.places import input_of, layer_in, module_path
from backlight.dictionaries.formats.settings import Settings, read_settings
from backlight.errors import DictionaryError, quoted

_CONFIG, _WEIGHTS = "cfg.json", "sae.safetensors"


@final
class Sparsify(Format):
    """Dictionaries that sparsify trained, named after the module they hang on."""

    def recognises(self, file: PurePath) -> bool:
        """See ``Format``."""
        return file.name == _WEIGHTS

    def card(self, file: Path) -> Card:
        """See ``Format``."""
        return _card(read_settings(file.parent / _CONFIG), file)

    def read(self, file: Path, *, dtype: torch.dtype, device: torch.device) -> Dictionary:
        """See ``Format``."""
        settings = read_settings(file.parent / _CONFIG)
        width = settings.size("d_in")
        features = settings.find("num_latents", int) or width * settings.size("expansion_factor")
        with open_weights(file, dtype=dtype, device=device) as weights:
            bias = weights.vector("b_dec", width)
            return Dictionary(
                encoder=LinearEncoder(
                    rows=weights.matrix("encoder.weight", features, width),
                    bias=weights.vector("encoder.bias", features),
                    input_bias=None if settings.find("transcode", bool) else bias,
                    activation=_activation(settings, features),
                ),
                rows=weights.matrix("W_dec", features, width),
                bias=bias,
                skip=weights.matrix("W_skip", width, width)
                if settings.find("skip_connection", bool)
                else None,
                card=_card(settings, file),
            )


def _card(settings: Settings, file: Path) -> Card:
    if settings.find("signed", bool):
        raise DictionaryError(
            f"{quoted(file.parent)} has signed features, a kind that sparsify gave up and "
            "backlight does not read; use one without `signed`."
        )
    activation = settings.choice("activation", ("topk", "groupmax"), otherwise="topk")
    transcodes = settings.find("transcode", bool)
    # The folder is named after the module; with several seeds, each has one inside.
    folder = file.parent.parent if file.parent.name.startswith("seed") else file.parent
    path = module_path(folder.name) if "." in folder.name else None
    return Card(
        format="sparsify",
        path=str(file.parent),
        architecture=f"{activation}_transcoder" if transcodes else activation,
        reads=input_of(path) if path is not None and transcodes else path,
        writes=path,
        layer=None if path is None else layer_in(path),
    )


def _activation(settings: Settings, features: int) -> Activation:
    if settings.find("activation", str) != "groupmax":
        return TopK(k=settings.size("k", most=features))
    k = settings.size("k")
    if features % k:
        raise DictionaryError(
            f"k in {quoted(settings.path)} is {k}, but {features} features do not make {k} equal "
            "groups."
        )
    return GroupMax(k=k)
