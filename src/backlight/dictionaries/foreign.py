"""Dictionaries that other code holds in memory: what encodes and has a decoder matrix."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from backlight.dictionaries.dictionary import Card, Dictionary, ForeignEncoder
from backlight.dictionaries.libraries import dictionary_of_library
from backlight.errors import DictionaryError

_BIASES = ("b_dec", "decoder.bias", "bias", "decoder_bias")
_NUM_PROBES = 8
_TOLERANCE = 1e-3
_FAILURES = (RuntimeError, TypeError, ValueError, AttributeError, AssertionError)


def dictionary_from_object(
    obj: object,
    *,
    reads: str | None = None,
    writes: str | None = None,
    layer: int | None = None,
    name: str | None = None,
) -> Dictionary:
    """Take a dictionary as another library holds it, such as a SAELens ``SAE``.

    Objects of SAELens and dictionary_learning are read by the code for their files, and say
    themselves where they belong, as far as they know it.

    Any other object has ``encode``, and as its decoder ``W_dec`` (a row for each feature) or
    ``decoder.weight`` (a column for each, as in ``torch.nn.Linear``), with a bias in ``b_dec``,
    ``decoder.bias``, ``bias`` or ``decoder_bias``, and with ``W_skip`` if there is a linear path
    around the features. That this is all there is to decoding is tried on random numbers, where the
    object has ``decode``.

    Args:
        obj: The object; it is not changed. Those of the two libraries are copied, the tensors of
            others are used where they are.
        reads: The site whose tensor it encodes, as written in any dialect; by default what the
            object itself says.
        writes: The site whose tensor it reconstructs; by default ``reads``.
        layer: The layer it belongs to.
        name: What reports should call it; by default its class.

    Returns:
        The dictionary; on random numbers it has the same features as the object's own ``encode``.

    Raises:
        DictionaryError: If the object has no such parts, or they do not explain how it decodes.

    Examples:
        >>> import backlight, torch
        >>> class Tied:
        ...     W_dec = torch.eye(3, 5)
        ...
        ...     def encode(self, x):
        ...         return (x @ self.W_dec.T).relu()
        >>> dictionary = backlight.dictionary_from_object(Tied(), reads="layers.3.mlp.out", layer=3)
        >>> dictionary.num_features, dictionary.card.architecture
        (3, 'Tied')
    """
    kind = type(obj).__name__
    if not callable(getattr(obj, "encode", None)):
        raise DictionaryError(f"A {kind} is no dictionary: it has no encode().")
    known = dictionary_of_library(obj)
    if known is not None:
        _compare(obj, known)
        return replace(known, card=_named(known.card, reads, writes, layer, name))
    rows = _rows(obj)
    bias = _tensor(obj, *_BIASES)
    dictionary = Dictionary(
        encoder=ForeignEncoder(encode=_encode_of(obj, rows.shape[0])),
        rows=rows,
        bias=rows.new_zeros(rows.shape[1]) if bias is None else bias,
        skip=_tensor(obj, "W_skip"),
        card=Card(
            format="object",
            path=name or kind,
            architecture=kind,
            reads=reads,
            writes=reads if writes is None else writes,
            layer=layer,
        ),
    )
    _prove(obj, dictionary)
    return dictionary


def _named(
    card: Card, reads: str | None, writes: str | None, layer: int | None, name: str | None
) -> Card:
    """Put what the caller says in the place of what the object says."""
    return replace(
        card,
        path=name or card.path,
        reads=reads or card.reads,
        writes=writes or reads or card.writes,
        layer=card.layer if layer is None else layer,
    )


def _compare(obj: Any, dictionary: Dictionary) -> None:
    """Try on random numbers whether a dictionary finds the features that the object finds."""
    kind, encoder = type(obj).__name__, dictionary.encoder
    generator = torch.Generator().manual_seed(0)
    # Objects for attention heads take each head by itself, unless they are told otherwise; and in
    # half precision, thresholds decide otherwise than in ours.
    takes_heads = getattr(getattr(obj, "cfg", None), "reshape_activations", None) == "hook_z"
    theirs = next(each for each in obj.state_dict().values() if each.is_floating_point())
    if takes_heads or encoder.width is None or theirs.dtype != dictionary.rows.dtype:
        return
    x = torch.randn(_NUM_PROBES, encoder.width, generator=generator).to(theirs)
    try:
        found = _encode_of(obj, dictionary.num_features)(x)
    except _FAILURES as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DictionaryError(
            f"A {kind} does not encode [tokens, {encoder.width}]: {reason}."
        ) from error
    if not _alike(found, dictionary.encode(x).dense()):
        raise DictionaryError(
            f"encode() of a {kind} does not give what its configuration and its tensors say: it is "
            "still in training, or was changed; save it and name the folder."
        )


def _rows(obj: object) -> Float[Tensor, "features width"]:
    rows, columns = _tensor(obj, "W_dec"), _tensor(obj, "decoder.weight")
    if rows is None and columns is not None:
        rows = columns.T.contiguous()
    if rows is None or rows.ndim != 2:
        raise DictionaryError(
            f"A {type(obj).__name__} is no dictionary: it has no matrix W_dec or decoder.weight."
        )
    return rows


def _tensor(obj: object, *names: str) -> Tensor | None:
    """Take the first attribute, which may be an attribute of one, that is a tensor."""
    for name in names:
        found: Any = obj
        for part in name.split("."):
            found = getattr(found, part, None)
        if isinstance(found, Tensor):
            return found.detach()
    return None


def _encode_of(obj: Any, num_features: int) -> Callable[[Tensor], Tensor]:
    """Make a function to dense features of the object's ``encode``."""

    @torch.no_grad()
    def encode(x: Tensor) -> Tensor:
        found = obj.encode(x)
        if hasattr(found, "top_acts"):  # sparsify returns the largest and where they are
            dense = found.top_acts.new_zeros(len(x), num_features)
            return dense.scatter_(1, found.top_indices, found.top_acts)
        if not isinstance(found, Tensor):
            raise DictionaryError(
                f"encode() of a {type(obj).__name__} gives {type(found).__name__}, not a tensor of "
                "features."
            )
        return found.to_dense() if found.is_sparse else found

    return encode


def _prove(obj: Any, dictionary: Dictionary) -> None:
    """Try the object on random numbers: the shape of its features, and how it decodes them."""
    rows, kind = dictionary.rows, type(obj).__name__
    generator = torch.Generator().manual_seed(0)
    width = _input_width(obj, dictionary)

    def random(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator).to(rows)

    try:
        x, probe = random(_NUM_PROBES, width), random(_NUM_PROBES, rows.shape[0])
        features = dictionary.encoder(x)
        found = _decode(obj, x, probe) if hasattr(obj, "decode") else None
    except _FAILURES as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DictionaryError(
            f"A {kind} does not encode and decode [tokens, {width}]: {reason}."
        ) from error
    if tuple(features.shape) != (_NUM_PROBES, rows.shape[0]):
        raise DictionaryError(
            f"encode() of a {kind} gives {list(features.shape)} for {_NUM_PROBES} tokens, while "
            f"its decoder has {rows.shape[0]} features."
        )
    expected = probe @ rows + dictionary.bias
    if found is not None and not _alike(found, expected):
        raise DictionaryError(
            f"decode() of a {kind} is not its decoder's matrix and bias alone: fold its scales in "
            "first (in SAELens: fold_W_dec_norm()), or save it and name the folder."
        )


@torch.no_grad()
def _decode(obj: Any, x: Tensor, features: Tensor) -> Tensor:
    """Decode as the object does, which may need to have encoded just before."""
    if not hasattr(obj.encode(x), "top_acts"):
        return obj.decode(features)
    everywhere = torch.arange(features.shape[1], device=features.device)
    return obj.decode(features, everywhere.expand(features.shape).contiguous())


def _alike(found: Tensor, expected: Tensor) -> bool:
    if found.shape != expected.shape:
        return False
    return bool((found - expected).abs().max() <= _TOLERANCE * expected.abs().max())


def _input_width(obj: object, dictionary: Dictionary) -> int:
    """Find how wide the input is, which in a transcoder need not be the output's width."""
    sized = ((dictionary.skip, 1), (_tensor(obj, "W_enc"), 0), (_tensor(obj, "encoder.weight"), 1))
    for matrix, axis in sized:
        if matrix is not None and matrix.ndim == 2:
            return matrix.shape[axis]
    return dictionary.rows.shape[1]
