"""Qwen Scope: ``layer{i}.sae.pt``, tensors alone, and all else in the name of the repository.

The names of the repositories, such as ``SAE-Res-Qwen3-8B-Base-W64K-L0_50``, are the only place that
says how many features fire (50) and where (the residual stream behind a layer).
"""

import re
from pathlib import Path, PurePath
from typing import final

import torch

from backlight.dictionaries.activations import TopK
from backlight.dictionaries.dictionary import Card, Dictionary, LinearEncoder
from backlight.dictionaries.formats.base import Format
from backlight.dictionaries.formats.files import load_state
from backlight.dictionaries.formats.weights import Weights
from backlight.errors import DictionaryError, quoted

_FILE = re.compile(r"layer(?P<layer>\d{1,4})\.sae\.pt")
_REPOSITORY = re.compile(
    r"SAE-Res-(?P<model>\w[\w.-]*)-W(?P<thousands>\d{1,6})K-L0_(?P<k>\d{1,6})(?!\d)"
)


@final
class QwenScope(Format):
    """The dictionaries that Qwen trained on the residual streams of Qwen 3 and 3.5."""

    def recognises(self, file: PurePath) -> bool:
        """See ``Format``."""
        return _FILE.fullmatch(file.name) is not None

    def card(self, file: Path) -> Card:
        """See ``Format``."""
        match = _FILE.fullmatch(file.name)
        layer = int(match["layer"]) if match is not None else None
        site = f"layers.{layer}.resid.post"
        return Card(
            format="Qwen Scope",
            path=str(file),
            architecture="topk",
            reads=site,
            writes=site,
            layer=layer,
            model=f"Qwen/{_told(file)['model']}",
        )

    def read(self, file: Path, *, dtype: torch.dtype, device: torch.device) -> Dictionary:
        """See ``Format``."""
        state = load_state(file)
        weights = Weights(
            path=file, names=tuple(state), fetch=state.__getitem__, dtype=dtype, device=device
        )
        features, width = weights.length("b_enc"), weights.length("b_dec")
        return Dictionary(
            encoder=LinearEncoder(
                rows=weights.matrix("W_enc", features, width),
                bias=weights.vector("b_enc", features),
                input_bias=None,
                # Qwen's own code keeps the k largest, be they below zero.
                activation=TopK(k=_k(file, features), keeps_negative=True),
            ),
            rows=weights.matrix("W_dec", features, width, transposed=True),
            bias=weights.vector("b_dec", width),
            card=self.card(file),
        )


def _told(file: Path) -> re.Match[str]:
    """Read the name of the repository, wherever it stands in the path."""
    found = list(_REPOSITORY.finditer(str(file.parent)))
    if not found:
        raise DictionaryError(
            f"{quoted(file)} does not say how many features fire: in Qwen Scope the name of the "
            "repository alone does. Keep the file in a folder of that name, such as "
            "SAE-Res-Qwen3-8B-Base-W64K-L0_50."
        )
    return found[-1]


def _k(file: Path, features: int) -> int:
    told = _told(file)
    k, thousands = int(told["k"]), int(told["thousands"])
    if features != 1024 * thousands:
        raise DictionaryError(
            f"{quoted(file)} has {features:,} features, but its folder {quoted(told[0])} says "
            f"{thousands}K, which is {1024 * thousands:,}; one of them belongs to another "
            "dictionary."
        )
    if not 1 <= k <= features:
        raise DictionaryError(
            f"The folder {quoted(told[0])} says that {k:,} features fire, of {features:,}; it has "
            "the name of no repository of Qwen Scope."
        )
    return k
