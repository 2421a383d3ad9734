"""Passages of tokens, and how they are cut into batches that hold few pads."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from numpy.typing import NDArray
from torch import Tensor

from backlight.data.corpora import Rows
from backlight.data.encoding import CutsText, Encoder
from backlight.data.rows import Row
from backlight.data.stored import StoredTokens, lengths_of, stored
from backlight.errors import DatasetError

SORTED_TOGETHER = 4096
"""How many passages are sorted by length at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passages:
    """The tokens of a corpus, one array for each passage.

    Attributes:
        tokens: Token ids of each passage, at least two.
        left_out: How many rows of the corpus are not here, by reason: ``blank``, ``too_short`` (of
            too few characters), ``fewer_than_two_tokens``; of conversations also
            ``no_completion``, ``completion_cut_off``, ``boundary_in_token``.
        num_cut: How many passages were longer in the corpus and were cut.
        num_unknown: How many tokens stand for what the tokenizer does not know.
        counted: Of each passage, which tokens the loss counts if they are predicted; None if all.
        goes_on: The corpus has rows behind these, and these are its beginning.
    """

    tokens: Sequence[NDArray[np.int64]]
    left_out: Mapping[str, int] = field(default_factory=dict[str, int])
    num_cut: int = 0
    num_unknown: int = 0
    counted: Sequence[NDArray[np.bool_]] | None = None
    goes_on: bool = False

    @staticmethod
    def of(
        tokens: Sequence[NDArray[np.int64]], encoder: Encoder, left_out: Mapping[str, int]
    ) -> "Passages":
        """Combine passages with what was counted on the way to them.

        Args:
            tokens: The passages.
            encoder: What made tokens of rows.
            left_out: How many rows were left out before that, by reason.

        Returns:
            The corpus.
        """
        return Passages(
            tokens=tokens,
            left_out={**left_out, **encoder.left_out},
            num_cut=encoder.num_cut,
            num_unknown=encoder.num_unknown,
        )

    @property
    def lengths(self) -> NDArray[np.int64]:
        """How many tokens each passage has."""
        return lengths_of(self.tokens)

    @property
    def num_tokens(self) -> int:
        """All tokens of all passages."""
        return int(self.lengths.sum())

    @property
    def num_predicted(self) -> int:
        """How many tokens the loss counts: the first of a passage is predicted from nothing."""
        if self.counted is None:
            return self.num_tokens - len(self.tokens)
        return sum(int(np.count_nonzero(counts[1:])) for counts in self.counted)

    def cut(self, longest: int | None) -> "Passages":
        """Cut all passages after so many tokens; None for nowhere."""
        counted = None if self.counted is None else [each[:longest] for each in self.counted]
        if isinstance(self.tokens, StoredTokens):
            return Passages(tokens=self.tokens.cut(longest), counted=counted)
        return Passages(tokens=[each[:longest] for each in self.tokens], counted=counted)

    def account(self) -> dict[str, Any]:
        """Return what became of the corpus, as plain numbers by name."""
        counted = {} if self.counted is None else {"num_counted": self.num_predicted}
        return {
            "num_passages": len(self.tokens),
            "num_tokens": self.num_tokens,
            "left_out": dict(self.left_out),
            "num_cut": self.num_cut,
            "num_unknown": self.num_unknown,
            **counted,
        }

    def fingerprint(self) -> str:
        """Hash all tokens, and which of them count, so that two corpora can be told apart."""
        digest = hashlib.sha256()
        for passage in self.tokens:
            digest.update(len(passage).to_bytes(8, "little") + passage.astype("<i8").tobytes())
        for counts in self.counted or ():
            digest.update(len(counts).to_bytes(8, "little") + counts.tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Some passages side by side, padded on the right.

    Attributes:
        passages: Which passages of the corpus they are.
        input_ids: Their tokens; 0 where there is none.
        lengths: How many tokens each has.
        counted: Which tokens the loss counts if they are predicted; None if all.
        valid: Where there is a token.
    """

    passages: tuple[int, ...]
    input_ids: Int[Tensor, "batch positions"]
    lengths: Int[Tensor, " batch"]
    counted: Bool[Tensor, "batch positions"] | None = None
    valid: Bool[Tensor, "batch positions"] = field(init=False)

    def __post_init__(self) -> None:
        places = torch.arange(self.input_ids.shape[1], device=self.lengths.device)
        object.__setattr__(self, "valid", places < self.lengths[:, None])

    @staticmethod
    def of(passages: Passages, members: Sequence[int]) -> "Batch":
        """Lay the given passages side by side."""
        rows = [passages.tokens[member] for member in members]
        counts = passages.counted
        return Batch(
            passages=tuple(members),
            input_ids=torch.from_numpy(_padded(rows)),
            lengths=torch.tensor([len(row) for row in rows]),
            counted=None
            if counts is None
            else torch.from_numpy(_padded([counts[member] for member in members])),
        )

    def to(self, device: torch.device) -> "Batch":
        """Move the batch to a device."""
        return Batch(
            passages=self.passages,
            input_ids=self.input_ids.to(device),
            lengths=self.lengths.to(device),
            counted=None if self.counted is None else self.counted.to(device),
        )

    @property
    def num_tokens(self) -> int:
        """How many tokens there are, pads not counted."""
        return int(self.lengths.sum())

    @property
    def predicts(self) -> Bool[Tensor, "batch targets"]:
        """Which tokens, from the second of each passage on, the loss counts; never a pad."""
        valid = self.valid[:, 1:]
        return valid if self.counted is None else valid & self.counted[:, 1:]

    @property
    def num_predicted(self) -> int:
        """How many tokens the loss counts."""
        return int(self.predicts.sum())


def _padded(rows: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Lay arrays side by side, with zeros where they end."""
    padded = np.zeros((len(rows), max(map(len, rows))), dtype=rows[0].dtype)
    for place, row in zip(padded, rows, strict=True):
        place[: len(row)] = row
    return padded


def tokenize(rows: Iterable[Row], tokenizer: CutsText, *, max_length: int) -> Passages:
    """Turn rows into passages of at most ``max_length`` tokens.

    Special tokens are added as the tokenizer does by itself, to token ids none; what is cut off is
    dropped.

    Args:
        rows: The rows.
        tokenizer: Called with the text, ``truncation`` and ``max_length``.
        max_length: The longest passage, in tokens.

    Returns:
        The passages in the order of the rows, and how many rows were left out, before too.

    Raises:
        DatasetError: If no row has two tokens, or token ids begin or end in pads.
    """
    encoder = Encoder(tokenizer, max_length=max_length)
    kept = stored(encoder.passages(rows))
    if not kept:
        raise DatasetError(
            f"None of the {encoder.num_rows} passages has two tokens or more, so there is no next "
            "token to predict."
        )
    found = Passages.of(kept, encoder, rows.left_out if isinstance(rows, Rows) else {})
    return replace(found, goes_on=isinstance(rows, Rows) and rows.goes_on())


def bucket(passages: Passages, *, batch_size: int, seed: int) -> list[tuple[int, ...]]:
    """Group passages of like length into batches.

    Passages are sorted by length (ties in an order drawn with ``seed``) and cut into batches; the
    batches are then shuffled with ``seed``, so that the time a run takes can be told from its
    first batches. More than 4,096 passages are not sorted as a whole, but as many at a time, drawn
    with ``seed``. The same passages, size and seed always give the same batches.

    Args:
        passages: The corpus.
        batch_size: Passages in a batch; the last batch may have fewer.
        seed: Fixes the order.

    Returns:
        The members of each batch.
    """
    random = np.random.default_rng(seed)
    lengths = passages.lengths
    shuffled = random.permutation(len(lengths))
    window = max(1, SORTED_TOGETHER // batch_size) * batch_size  # whole batches
    if len(shuffled) <= SORTED_TOGETHER:
        window = SORTED_TOGETHER
    groups: list[tuple[int, ...]] = []
    for first in range(0, len(shuffled), window):
        members = shuffled[first : first + window]
        by_length = members[np.argsort(-lengths[members], kind="stable")]
        starts = range(0, len(by_length), batch_size)
        groups += [tuple(by_length[start : start + batch_size].tolist()) for start in starts]
    return [groups[index] for index in random.permutation(len(groups))]
