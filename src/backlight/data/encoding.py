"""Rows of a corpus as tokens; what is lost on the way is counted."""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol, final, runtime_checkable

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray

from backlight.data.rows import Row
from backlight.errors import DatasetError

_MIN_TOKENS = 2  # the shortest sequence that has a next token to predict
_GIANT = 100_000  # characters, and some for each token: where it is worth to cut a text first
_PER_TOKEN = 64


@runtime_checkable
class CutsText(Protocol):
    """A tokenizer that can cut what it reads: any of Transformers."""

    def __call__(self, text: str, *, truncation: bool, max_length: int) -> Any:
        """Turn text into ``input_ids``, at most ``max_length`` of them, without pads."""
        ...


@final
class Encoder:
    """Turns rows into tokens one after another, and counts what is lost.

    Attributes:
        num_rows: Rows so far.
        num_short: Rows of fewer than two tokens.
        num_cut: Rows that were cut.
        num_unknown: Tokens that stand for what the tokenizer does not know.
    """

    def __init__(self, tokenizer: CutsText, *, max_length: int) -> None:
        self._tokenizer, self._max_length = tokenizer, max_length
        # Any tokenizer of Transformers has these attributes; one of the user's own need not.
        pad, unknown, *ends = (
            getattr(tokenizer, f"{name}_token_id", None) for name in ("pad", "unk", "bos", "eos")
        )
        self._pad, self._unknown = pad, None if unknown in ends else unknown
        # A pad that also ends texts stands once where a text ends; two of them are padding.
        self._fewest_pads = 2 if pad in ends else 1
        self._cuts_the_end = getattr(tokenizer, "truncation_side", "right") == "right"
        self.num_rows = self.num_short = self.num_cut = self.num_unknown = 0

    def passages(self, rows: Iterable[Row]) -> Iterator[NDArray[np.int64]]:
        """Encode rows; those of fewer than two tokens are left out.

        Args:
            rows: Texts, or token ids.

        Yields:
            At most ``max_length`` token ids.

        Raises:
            DatasetError: If token ids begin or end in pads.
        """
        for row in rows:
            self.num_rows += 1
            if isinstance(row, str):
                ids, is_cut = self._of_text(row)
            else:
                ids, is_cut = row[: self._max_length], len(row) > self._max_length
                self._refuse_pads(row, self.num_rows - 1)
            if len(ids) < _MIN_TOKENS:
                self.num_short += 1
                continue
            self.num_cut += is_cut
            if self._unknown is not None:
                self.num_unknown += int(np.count_nonzero(ids == self._unknown))
            yield ids

    @property
    def left_out(self) -> dict[str, int]:
        """How many rows were left out, by reason."""
        return {"fewer_than_two_tokens": self.num_short} if self.num_short else {}

    def _of_text(self, text: str) -> tuple[Int[np.ndarray, " tokens"], bool]:
        part = self._beginning(text)
        ids = self._ids(part, self._max_length)
        if len(ids) < self._max_length:
            return ids, False
        # Special tokens at the end stay when a text is cut, so its length alone does not tell.
        return ids, len(part) < len(text) or len(self._ids(part, self._max_length + 1)) > len(ids)

    def _beginning(self, text: str) -> str:
        """Cut a giant text where its first tokens are far from the cut, so that none changes."""
        # A tokenizer reads all of a text before it drops what is too much, which takes minutes and
        # gigabytes if that is a whole library in one line.
        size = _GIANT + _PER_TOKEN * self._max_length
        enough = 2 * self._max_length + _PER_TOKEN
        while size < len(text) and self._cuts_the_end:
            if len(self._ids(text[:size], enough)) == enough:
                return text[:size]
            size *= 4
        return text

    def _ids(self, text: str, max_length: int) -> Int[np.ndarray, " tokens"]:
        found = self._tokenizer(text, truncation=True, max_length=max_length)["input_ids"]
        return np.asarray(found, dtype=np.int64)

    def _refuse_pads(self, ids: Int[np.ndarray, " tokens"], number: int) -> None:
        """Refuse token ids with pads around them: they would be measured as text."""
        if self._pad is None:
            return
        for ends in (ids[-self._fewest_pads :], ids[: self._fewest_pads]):
            if len(ends) == self._fewest_pads and bool((ends == self._pad).all()):
                raise DatasetError(
                    f"Row {number} of token ids begins or ends with pads (id {self._pad}), which "
                    "would be measured as text. Give each passage without them, or a mapping with "
                    "input_ids and attention_mask."
                )
