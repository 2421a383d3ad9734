"""Where text comes from: the shipped plays, files, datasets of the hub, and data in memory."""

import hashlib
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import final

from backlight.data.characters import shipped_text
from backlight.data.delimited import read_cell_rows
from backlight.data.given import Given
from backlight.data.hub import read_hub
from backlight.data.lines import read_lines
from backlight.data.memory import read_given
from backlight.data.parquet import num_groups, read_parquet
from backlight.data.records import read_json_document, read_json_lines
from backlight.data.rows import Row
from backlight.data.sources import kind_of, refuse_memory, refuse_what_is_no_id
from backlight.errors import DatasetError, quoted
from backlight.foreign.files import expanded

MIN_CHARACTERS: Mapping[str, int] = {"wikitext": 50, "shakespeare": 50}
"""A row of these corpora counts if, stripped of white space, it is longer than this; a row of any
other, if anything is left at all."""

_WIKITEXT = ("Salesforce/wikitext", "wikitext-2-raw-v1")
_MARK = "\ufeff"
_MOST_HELD = 4096  # rows that are read before the model is loaded; the others one by one
_MOST_LEFT_OUT = 1_000_000  # one after another; what goes on like that is no text

_Reader = Callable[[Path, str], Iterator[Row]]
_READERS: Mapping[str, _Reader] = {
    ".txt": lambda path, _: read_lines(path),
    ".jsonl": read_json_lines,
    ".json": read_json_document,
    ".csv": read_cell_rows,
    ".tsv": read_cell_rows,
}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows of a corpus that count, and how many before the last of them did not.

    Attributes:
        rows: Texts, or token ids; those of a large corpus are read as they are gone through, once.
        left_out: How many rows did not count, by reason: ``blank``, ``too_short``. Of a large
            corpus, of those read so far.
        goes_on: After all rows: whether there are more of the corpus, and these its beginning.
    """

    rows: Iterable[Row]
    left_out: Mapping[str, int] = field(default_factory=dict[str, int])
    goes_on: Callable[[], bool] = bool

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def fingerprint(self) -> str:
        """Hash all rows, so that two corpora can be told apart before there are tokens."""
        digest = hashlib.sha256()
        for row in self.rows:
            content = row.encode() if isinstance(row, str) else row.astype("<i8").tobytes()
            digest.update(len(content).to_bytes(8, "little") + content)
        return digest.hexdigest()


@final
class RowReader:
    """Goes through the rows of a corpus that count, and counts those that do not.

    Attributes:
        left_out: How many rows did not count so far, by reason: ``blank`` for those without
            anything but white space, ``too_short`` for those of too few characters.
        num_rows: How many rows were read so far, those that did not count included.
    """

    def __init__(
        self,
        dataset: str,
        *,
        text_column: str = "text",
        split: str = "train",
        min_characters: int | None = None,
        passage_length: int | None = None,
        num_samples: int | None = None,
        draws: int | None = None,
    ) -> None:
        """Find a corpus.

        Args:
            dataset: ``shakespeare`` (12 plays, shipped; a row is a paragraph), ``wikitext``
                (wikitext-2-raw-v1), the path of a file (``.txt``, of which a row is a line,
                ``.csv``, ``.tsv``, ``.jsonl``, ``.json``, all of these also with ``.gz``, or
                ``.parquet``), the id of a dataset on the hub, or data in memory.
            text_column: The field that holds the text, where rows have fields.
            split: The split of a dataset from the hub.
            min_characters: A row of text counts if it has more than these, white space around it
                left out; None for 50 of ``wikitext`` and ``shakespeare``, 0 of others.
            passage_length: Into passages of how many tokens one long row of token ids is cut.
            num_samples: How many rows will be read; of a dataset of the hub that is much larger no
                more is fetched. None if it is not known.
            draws: A seed that draws the order in which parts of the corpus are read, if any part
                can be (row groups of a parquet file); None for the order in which they are.

        Raises:
            DatasetError: If there is no such corpus, or its rows cannot be read.
        """
        default = MIN_CHARACTERS.get(dataset, 0)
        self.left_out: Counter[str] = Counter()
        self.num_rows = 0
        self._dataset = dataset
        self._min_characters = default if min_characters is None else min_characters
        self._draws = draws
        self._rows = _open(
            dataset,
            text_column=text_column,
            split=split,
            passage_length=passage_length,
            num_samples=num_samples,
            draws=draws,
        )

    def __iter__(self) -> Iterator[Row]:
        """Iterate over the rows that count."""
        num_in_vain = 0
        for row in self._rows:
            self.num_rows += 1
            text = self._unmarked(row)
            reason = None if text is None else self._reason(text)
            if reason is None:
                num_in_vain = 0
                yield row if text is None else text
                continue
            self.left_out[reason] += 1
            num_in_vain += 1
            if num_in_vain == _MOST_LEFT_OUT:
                raise DatasetError(
                    f"None of {num_in_vain:,} rows one after another counts, up to row "
                    f"{self.num_rows:,}: {self.told()}. Is it text?"
                )

    def first(self, num_samples: int) -> Rows:
        """Read the first rows that count.

        Args:
            num_samples: How many rows to read; fewer if there are fewer.

        Returns:
            The rows, and how many before the last of them were left out. More than 4,096 rows of
            what is not in memory are read as they are gone through.

        Raises:
            DatasetError: If the text cannot be read, or no row counts.
        """
        num_samples = min(num_samples, sys.maxsize)
        is_given = isinstance(self._dataset, Given)
        rows = list(islice(self, num_samples if is_given else min(num_samples, _MOST_HELD)))
        name = quoted(self._dataset)
        if not self.num_rows:
            once = " (what was handed over may have been used up before)" * is_given
            raise DatasetError(f"The dataset {name} is empty: it has no rows{once}.")
        if not rows:
            hint = "; see --min_characters." if self.left_out["too_short"] else "."
            raise DatasetError(
                f"None of the {self.num_rows} rows of {name} counts ({self.told()}), so there is "
                f"nothing to measure on{hint}"
            )
        if is_given or len(rows) < _MOST_HELD or num_samples == _MOST_HELD:
            return Rows(rows=rows, left_out=dict(self.left_out), goes_on=self._goes_on)
        rest = islice(self, num_samples - len(rows))
        return Rows(rows=chain(rows, rest), left_out=self.left_out, goes_on=self._goes_on)

    def _goes_on(self) -> bool:
        """Look whether there is a row behind those that were read in their own order."""
        if self._draws is None or is_drawn(self._dataset):
            return False
        return any(True for _ in self)

    def told(self) -> str:
        """Describe how many rows did not count, and why."""
        words = {"blank": "blank", "too_short": f"no longer than {self._min_characters} characters"}
        return ", ".join(f"{number} {words[reason]}" for reason, number in self.left_out.items())

    def _reason(self, text: str) -> str | None:
        size = len(text.strip())
        if size > self._min_characters:
            return None
        return "too_short" if size else "blank"

    def _unmarked(self, row: Row) -> str | None:
        """Return a text without the byte order mark some programs leave; None for token ids."""
        if not isinstance(row, str):
            return None
        try:
            row.encode()
        except UnicodeEncodeError as error:
            raise DatasetError(
                f"Row {self.num_rows} holds half a character (the lone surrogate "
                f"U+{ord(row[error.start]):04X}, at {error.start}), which is no text; repair it."
            ) from error
        return row.lstrip(_MARK)


def is_drawn(dataset: str) -> bool:
    """Return whether a corpus has parts that can be read in an order drawn by chance."""
    if isinstance(dataset, Given) or kind_of(dataset) != ".parquet":
        return False
    return num_groups(expanded(dataset, error=DatasetError)) > 1


def _open(
    dataset: str,
    *,
    text_column: str,
    split: str,
    passage_length: int | None,
    num_samples: int | None,
    draws: int | None,
) -> Iterator[Row]:
    if isinstance(dataset, Given):
        return read_given(
            dataset, text_column=text_column, split=split, passage_length=passage_length
        )
    refuse_memory(dataset)
    if dataset == "shakespeare":
        return _shakespeare()
    if dataset == "wikitext":
        return read_hub(*_WIKITEXT, text_column=text_column, split=split, num_samples=num_samples)
    kind = kind_of(dataset)
    if kind == ".parquet":
        return read_parquet(expanded(dataset, error=DatasetError), text_column, draws=draws)
    if kind is not None:
        return _READERS[kind](expanded(dataset, error=DatasetError), text_column)
    refuse_what_is_no_id(dataset)
    return read_hub(dataset, None, text_column=text_column, split=split, num_samples=num_samples)


def _shakespeare() -> Iterator[Row]:
    for paragraph in shipped_text().split("\n\n"):
        yield paragraph.strip("\n")
