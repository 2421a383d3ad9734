"""Text as characters, in nanoGPT's form: ``train.bin``, ``val.bin`` and what each number means.

A folder that nanoGPT prepared is read as it is. Its ``meta.pkl`` is a pickle; it is read by an
unpickler that makes nothing but numbers, text and containers of them. ``meta.json`` with the same
content may take its place.
"""

import gzip
import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, NoReturn, final

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from backlight.errors import DatasetError, quoted

_TRAIN, _VAL, _META, _PICKLE = "train.bin", "val.bin", "meta.json", "meta.pkl"
_TRAIN_SHARE = 0.9
_LARGEST_VOCABULARY = 2**16


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Characters:
    """A text as numbers, in two parts.

    Attributes:
        vocabulary: The characters; a character's number is its place.
        train: The part to learn from.
        val: The part to test on.
    """

    vocabulary: tuple[str, ...]
    train: NDArray[np.uint16]
    val: NDArray[np.uint16]

    def encode(self, text: str) -> NDArray[np.uint16]:
        """Turn text into numbers.

        Args:
            text: Characters of the vocabulary.

        Returns:
            One number for each character.

        Raises:
            DatasetError: If some characters are not in the vocabulary.
        """
        return _encode(text, self.vocabulary)

    def decode(self, token_ids: Sequence[int] | NDArray[Any]) -> str:
        """Turn numbers into text."""
        return "".join(self.vocabulary[number] for number in token_ids)

    def __call__(self, text: str, *, truncation: bool, max_length: int) -> dict[str, list[int]]:
        """Encode text as tokenizers do, so that a model of characters can be a ``Subject``."""
        return {"input_ids": self.encode(text[:max_length] if truncation else text).tolist()}


def characters_of(text: str) -> Characters:
    """Turn a text into numbers; the first nine tenths are to learn from.

    Args:
        text: Any text. The vocabulary is its characters, sorted.

    Returns:
        Its two parts.

    Raises:
        DatasetError: If the text has fewer than two characters, or too many different ones.
    """
    if len(text) < 2:
        raise DatasetError(f"A text of {len(text)} characters cannot be cut into two parts.")
    vocabulary = tuple(sorted(set(text)))
    if len(vocabulary) > _LARGEST_VOCABULARY:
        raise DatasetError(
            f"The text has {len(vocabulary)} different characters; {_LARGEST_VOCABULARY} are the "
            "most that fit into two bytes."
        )
    numbers = _encode(text, vocabulary)
    cut = int(_TRAIN_SHARE * len(numbers))
    return Characters(vocabulary=vocabulary, train=numbers[:cut], val=numbers[cut:])


def shipped_text() -> str:
    """Read the twelve plays that come with backlight, as one text."""
    packed = files("backlight.data").joinpath("shakespeare_plays.txt.gz").read_bytes()
    return gzip.decompress(packed).decode("ascii")


def read_characters(folder: Path) -> Characters:
    """Read a folder in nanoGPT's form.

    Args:
        folder: It holds ``train.bin``, ``val.bin``, and ``meta.json`` or ``meta.pkl``.

    Returns:
        The text.

    Raises:
        DatasetError: If a file is missing or damaged, or a number stands for no character.
    """
    if not folder.is_dir():
        raise DatasetError(f"There is no folder {quoted(folder)}.")
    vocabulary = _vocabulary(folder)
    train, val = (_numbers(folder / name, vocabulary) for name in (_TRAIN, _VAL))
    return Characters(vocabulary=vocabulary, train=train, val=val)


def draw_batch(
    numbers: NDArray[np.uint16],
    *,
    block_size: int,
    batch_size: int,
    generator: torch.Generator | None = None,
) -> tuple[Int[Tensor, "batch positions"], Int[Tensor, "batch positions"]]:
    """Draw sequences that start anywhere, with what comes next at each of their places.

    Args:
        numbers: The text.
        block_size: The length of a sequence.
        batch_size: How many are drawn; some may be the same.
        generator: Where randomness comes from; None for PyTorch's own.

    Returns:
        The sequences, and the same one place further on.

    Raises:
        DatasetError: If the text is too short for one sequence.
    """
    num_starts = len(numbers) - block_size - 1  # nanoGPT's count: the last start is never drawn
    if num_starts < 1:
        raise DatasetError(
            f"A text of {len(numbers)} characters is too short for sequences of {block_size}: it "
            f"takes {block_size + 2}."
        )
    starts = torch.randint(num_starts, (batch_size,), generator=generator).numpy()
    places = starts[:, None] + np.arange(block_size + 1)
    drawn = torch.from_numpy(numbers[places].astype(np.int64))
    return drawn[:, :-1].contiguous(), drawn[:, 1:].contiguous()


def _encode(text: str, vocabulary: Sequence[str]) -> NDArray[np.uint16]:
    number_of = {character: number for number, character in enumerate(vocabulary)}
    unknown = sorted(set(text) - number_of.keys())
    if unknown:
        listed = ", ".join(map(quoted, unknown[:5])) + (", ..." if len(unknown) > 5 else "")
        raise DatasetError(
            f"{len(unknown)} characters of the text are not in the vocabulary of "
            f"{len(vocabulary)}: {listed}."
        )
    return np.fromiter((number_of[character] for character in text), np.uint16, len(text))


def _numbers(path: Path, vocabulary: Sequence[str]) -> NDArray[np.uint16]:
    if not path.is_file():
        raise DatasetError(
            f"There is no {path.name} in {quoted(path.parent)}; a folder in nanoGPT's form has "
            f"{_TRAIN}, {_VAL} and {_META} or {_PICKLE}."
        )
    content = path.read_bytes()
    if len(content) % 2:
        raise DatasetError(
            f"{quoted(path)} is cut off: it has {len(content)} bytes, an odd number."
        )
    numbers = np.frombuffer(content, dtype="<u2").astype(np.uint16)
    if len(numbers) and int(numbers.max()) >= len(vocabulary):
        raise DatasetError(
            f"{quoted(path)} holds the number {int(numbers.max())}, and its vocabulary has only "
            f"{len(vocabulary)} characters."
        )
    return numbers


def _vocabulary(folder: Path) -> tuple[str, ...]:
    if (folder / _META).is_file():
        return _characters_in(_read_json(folder / _META), folder / _META)
    if (folder / _PICKLE).is_file():
        return _characters_in(_read_pickle(folder / _PICKLE), folder / _PICKLE)
    raise DatasetError(
        f"There is neither {_META} nor {_PICKLE} in {quoted(folder)}, so it is not known which "
        "character a number stands for."
    )


def _characters_in(meta: object, path: Path) -> tuple[str, ...]:
    """Read ``itos``: a list of characters, or a dictionary from numbers to characters."""
    found = meta.get("itos") if isinstance(meta, Mapping) else None
    if isinstance(found, Mapping) and set(found) == set(range(len(found))):
        found = [found[number] for number in range(len(found))]
    if not isinstance(found, list) or not found:
        raise DatasetError(f"{quoted(path)} does not say in 'itos' which characters there are.")
    characters = [item for item in found if isinstance(item, str) and len(item) == 1]
    if len(set(characters)) != len(found):
        raise DatasetError(f"In {quoted(path)}, 'itos' must be single characters, each once.")
    return tuple(characters)


def _read_json(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DatasetError(f"{quoted(path)} is not JSON: {quoted(str(error))}.") from error


class _PlainUnpickler(pickle.Unpickler):
    """Makes numbers, text and containers; anything else in a pickle is refused, not imported."""

    def find_class(self, module_name: str, global_name: str, /) -> NoReturn:
        raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}")


_DAMAGED = (pickle.UnpicklingError, EOFError, ValueError, TypeError, LookupError, AttributeError)


def _read_pickle(path: Path) -> object:
    try:
        with path.open("rb") as file:
            return _PlainUnpickler(file).load()
    except (*_DAMAGED, OverflowError, MemoryError) as error:
        raise DatasetError(
            f"{quoted(path)} is not the pickle of a plain dictionary ({quoted(str(error))}), and "
            f"nothing else is read. Prepare the folder anew, with {_META}."
        ) from error
