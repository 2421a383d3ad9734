"""dictionary_learning: ``trainer_0/ae.pt`` with ``config.json``, and checkpoints on the way."""

from collections.abc import Mapping
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import Any, final

import torch
from torch import Tensor

from backlight.dictionaries.activations import Activation, Gated, Relu, Threshold, TopK
from backlight.dictionaries.dictionary import Card, Dictionary, LinearEncoder
from backlight.dictionaries.formats.base import Format
from backlight.dictionaries.formats.files import load_state
from backlight.dictionaries.formats.places import input_of, layer_in, module_path, tensor_of_label
from backlight.dictionaries.formats.settings import Settings, read_settings
from backlight.dictionaries.formats.weights import Weights, fold_norms
from backlight.dictionaries.formats.writing import encoder_bias, write_json, write_tensors
from backlight.errors import DictionaryError, quoted

_CONFIG, _WEIGHTS = "config.json", "ae.pt"
_BIASES = {  # what each kind calls the output's bias
    "AutoEncoder": "bias",
    "AutoEncoderNew": "decoder.bias",
    "GatedAutoEncoder": "decoder_bias",
    "AutoEncoderTopK": "b_dec",
    "BatchTopKSAE": "b_dec",
    "JumpReluAutoEncoder": "b_dec",
    "MatryoshkaBatchTopKSAE": "b_dec",
}
_BY_FEATURE = ("JumpReluAutoEncoder", "MatryoshkaBatchTopKSAE")  # W_enc, W_dec


@final
class DictionaryLearning(Format):
    """Dictionaries that dictionary_learning trained, as its ``load_dictionary`` gives them."""

    def recognises(self, file: PurePath) -> bool:
        """See ``Format``."""
        checkpoint = file.parent.name == "checkpoints" and file.match("ae_*.pt")
        return file.name == _WEIGHTS or checkpoint

    def card(self, file: Path) -> Card:
        """See ``Format``."""
        return _card(_settings(file), file)

    def read(self, file: Path, *, dtype: torch.dtype, device: torch.device) -> Dictionary:
        """See ``Format``."""
        settings = _settings(file)
        card = _card(settings, file)
        state, factor = _unpacked(load_state(file), file)
        weights = Weights(
            path=file, names=tuple(state), fetch=state.__getitem__, dtype=dtype, device=device
        )
        found, linear = _dictionary(settings.section("trainer"), weights, card, factor)
        if card.architecture == "AutoEncoder":  # the library does this whenever it loads one
            fold_norms(found.rows, linear.rows, linear.bias)
        return found


def knows(name: str, state: Mapping[str, Tensor]) -> bool:
    """Return whether an object in memory is one of dictionary_learning.

    Args:
        name: Its class.
        state: Its tensors.

    Returns:
        Whether both the class and the tensors are those of one of its kinds.
    """
    encoder = "W_enc" if name in _BY_FEATURE else "encoder.weight"
    return name in _BIASES and {_BIASES[name], encoder} <= state.keys()


def read_held(settings: Settings, weights: Weights) -> Dictionary:
    """Read an object in memory; its decoder's rows keep the norms that they have there.

    Args:
        settings: Its class and sizes, as a file would give them for its trainer.
        weights: Its ``state_dict()``.

    Returns:
        The dictionary.

    Raises:
        DictionaryError: If it contradicts itself.
    """
    kind = settings.choice("dict_class", tuple(_BIASES))
    card = Card(format="dictionary_learning", path=str(weights.path), architecture=kind)
    return _dictionary(settings, weights, card, 1.0)[0]


def write(
    dictionary: Dictionary,
    folder: Path,
    *,
    model_name: str,
    layer: int,
    submodule_name: str,
    k: int,
    notes: Mapping[str, Any] = MappingProxyType({}),
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Write an autoencoder as dictionary_learning's ``BatchTopKSAE``.

    Args:
        dictionary: What to write; its features have one threshold.
        folder: Where; ``trainer_0`` is made in it.
        model_name: The model it was trained on.
        layer: The layer.
        submodule_name: The site, such as ``mlp_out_layer_3``.
        k: How many features fire at a token on average.
        notes: More to keep among the trainer's settings; plain JSON values.
        dtype: The number format of the file; dictionary_learning reads any as float32.

    Returns:
        The folder of the dictionary.

    Raises:
        DictionaryError: If ``BatchTopKSAE`` cannot hold it.
        StorageError: If it cannot be written.
    """
    encoder = dictionary.encoder
    if (
        not isinstance(encoder, LinearEncoder)
        or not isinstance(encoder.activation, Threshold)
        or encoder.activation.threshold.unique().numel() != 1
        or dictionary.skip is not None
        or dictionary.normalization != "none"
    ):
        raise DictionaryError(
            "dictionary_learning's BatchTopKSAE holds an autoencoder with one threshold for all "
            "features and no normalisation; write this dictionary for SAELens."
        )
    features, width = dictionary.rows.shape
    trainer = {
        "trainer_class": "BatchTopKTrainer",
        "dict_class": "BatchTopKSAE",
        "activation_dim": width,
        "dict_size": features,
        "k": k,
        "layer": layer,
        "lm_name": model_name,
        "submodule_name": submodule_name,
        **notes,
    }
    state = {
        "encoder.weight": encoder.rows,
        "encoder.bias": encoder_bias(dictionary, encoder, subtracts=True),
        "decoder.weight": dictionary.rows.T,
        "b_dec": dictionary.bias,
        "k": torch.tensor(k, dtype=torch.int32),
        "threshold": encoder.activation.threshold[0].to("cpu", torch.float32).clone(),
    }
    place = folder / "trainer_0"
    buffer = {"d_submodule": width, "io": "out"}
    write_json(place / _CONFIG, {"trainer": trainer, "buffer": buffer})
    write_tensors(place / _WEIGHTS, state, dtype=dtype)  # last: it is what is looked for
    return place


def _settings(file: Path) -> Settings:
    folder = file.parent.parent if file.parent.name == "checkpoints" else file.parent
    return read_settings(folder / _CONFIG)


def _card(settings: Settings, file: Path) -> Card:
    trainer = settings.section("trainer")
    reads, writes = _sites(
        trainer.find("submodule_name", str), settings.section("buffer").find("io", str)
    )
    layer, named = trainer.find("layer", int), layer_in(writes or "")
    if layer is not None and named is not None and layer != named:
        raise DictionaryError(
            f"{quoted(settings.path)} says layer {layer} and a submodule of layer {named}; mend it."
        )
    return Card(
        format="dictionary_learning",
        path=str(file if file.parent.name == "checkpoints" else file.parent),
        architecture=trainer.choice("dict_class", tuple(_BIASES)),
        reads=reads,
        writes=writes,
        layer=named if layer is None else layer,
        model=trainer.find("lm_name", str),
    )


def _sites(name: str | None, io: str | None) -> tuple[str | None, str | None]:
    """Find what is read and written; a label names a tensor, a path a module with two sides."""
    tensor, path = tensor_of_label(name or ""), module_path(name or "")
    if tensor is not None and io in ("out", None):
        return tensor, tensor
    if tensor is not None or path is None:
        return None, None
    sides = {
        "out": (path, path),
        "in": (input_of(path), input_of(path)),
        "in_and_out": (input_of(path), path),
    }
    return sides.get(io or "", (None, None))


def _unpacked(state: dict[str, Any], file: Path) -> tuple[dict[str, Any], float]:
    """Take the dictionary out of a backup of its training, with the scale of its biases."""
    if "ae" not in state or "optimizer" not in state:
        return state, 1.0
    inside, factor = state["ae"], state.get("norm_factor")
    if not isinstance(inside, dict) or not isinstance(factor, int | float | None):
        raise DictionaryError(f"{quoted(file)} is no backup that dictionary_learning would write.")
    return inside, 1.0 if factor is None else float(factor)


def _dictionary(
    trainer: Settings, weights: Weights, card: Card, factor: float
) -> tuple[Dictionary, LinearEncoder]:
    """Build the dictionary and its encoder; the biases are multiplied by ``factor``."""
    kind = card.architecture
    width, features = trainer.size("activation_dim"), trainer.size("dict_size")
    if kind in _BY_FEATURE:
        rows = weights.matrix("W_dec", features, width)
        encoder_rows = weights.matrix("W_enc", features, width, transposed=True)
    else:
        rows = weights.matrix("decoder.weight", features, width, transposed=True)
        encoder_rows = weights.matrix("encoder.weight", features, width)
    if kind == "GatedAutoEncoder":  # its biases stand in the activation function
        encoder_bias = rows.new_zeros(features)
    else:
        name = "b_enc" if kind in _BY_FEATURE else "encoder.bias"
        encoder_bias = weights.vector(name, features)
    bias = weights.vector(_BIASES[kind], width).mul_(factor)
    encoder = LinearEncoder(
        rows=encoder_rows,
        bias=encoder_bias.mul_(factor),
        input_bias=None if kind in ("AutoEncoderNew", "JumpReluAutoEncoder") else bias,
        activation=_activation(trainer, weights, kind, factor),
    )
    return Dictionary(encoder=encoder, rows=rows, bias=bias, card=card), encoder


def _activation(trainer: Settings, weights: Weights, kind: str, factor: float) -> Activation:
    features = trainer.size("dict_size")
    if kind == "GatedAutoEncoder":
        return Gated(
            gate_bias=weights.vector("gate_bias", features).mul_(factor),
            magnitude_scale=weights.vector("r_mag", features).exp_(),
            magnitude_bias=weights.vector("mag_bias", features).mul_(factor),
        )
    if kind == "JumpReluAutoEncoder":
        return Threshold(threshold=weights.vector("threshold", features).mul_(factor))
    if kind in ("BatchTopKSAE", "MatryoshkaBatchTopKSAE"):
        # Below zero while training has not begun to estimate it: then every positive one fires.
        threshold = max(weights.number("threshold"), 0.0) * factor
        all_alike = torch.full((features,), threshold, dtype=weights.dtype, device=weights.device)
        return Threshold(threshold=all_alike)
    if kind == "AutoEncoderTopK":
        k = trainer.size("k")
        if "k" in weights.names and int(weights.number("k")) != k:
            raise DictionaryError(
                f"{quoted(trainer.path)} says k is {k}, {quoted(weights.path)} says "
                f"{int(weights.number('k'))}; one of them belongs to another dictionary."
            )
        return TopK(k=min(k, features))
    return Relu()
