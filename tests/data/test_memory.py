"""Data that is handed over in Python."""

import io

import datasets
import numpy as np
import pandas
import pyarrow
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from backlight.data.corpora import RowReader
from backlight.data.given import IN_MEMORY, Given, named_or_given
from backlight.errors import DatasetError

TEXTS = ["Once upon a time", "a dog"]
IDS = [[5, 6, 7], [8, 9, 4]]
PADDED = {"input_ids": [[5, 6, 7], [8, 9, 0]], "attention_mask": [[1, 1, 1], [1, 1, 0]]}


class MapStyle:
    """What torch calls a dataset: it has numbered items and no iteration."""

    def __len__(self):
        return len(TEXTS)

    def __getitem__(self, place):
        return TEXTS[place]


def rows_of(data, **options):
    rows = RowReader(named_or_given(data), passage_length=4, **options).first(9)
    return [row if isinstance(row, str) else row.tolist() for row in rows]


@pytest.mark.parametrize(
    "data",
    [
        TEXTS,
        tuple(TEXTS),
        (text for text in TEXTS),
        iter(TEXTS),
        np.array(TEXTS),
        pandas.Series(TEXTS, index=[7, 7]),
        pandas.DataFrame({"id": [1, 2], "text": TEXTS}),
        pyarrow.table({"text": TEXTS}),
        {"text": TEXTS, "id": [1, 2]},
        [{"text": text} for text in TEXTS],
        datasets.Dataset.from_dict({"text": TEXTS}),
        datasets.Dataset.from_dict({"text": TEXTS}).to_iterable_dataset(),
        datasets.DatasetDict({"train": datasets.Dataset.from_dict({"text": TEXTS})}),
        MapStyle(),
        ["\ufeff" + text for text in TEXTS],
    ],
    ids=lambda data: type(data).__name__,
)
def test_texts_are_taken_in_every_form_that_people_have(data):
    assert rows_of(data) == TEXTS


@pytest.mark.parametrize(
    "data",
    [
        IDS,
        tuple(map(tuple, IDS)),
        (row for row in IDS),
        [np.array(row, dtype=np.uint16) for row in IDS],
        [torch.tensor(row) for row in IDS],
        np.array(IDS),
        torch.tensor(IDS),
        DataLoader(torch.tensor(IDS), batch_size=2),
        DataLoader(TensorDataset(torch.tensor(IDS)), batch_size=2),
        {"input_ids": torch.tensor(IDS)},
        [{"input_ids": row} for row in IDS],
        datasets.Dataset.from_dict({"input_ids": IDS}),
        pandas.Series(IDS),
        pandas.DataFrame({"input_ids": IDS}),
    ],
    ids=lambda data: type(data).__name__,
)
def test_token_ids_are_taken_in_every_form_that_people_have(data):
    assert rows_of(data) == IDS


@pytest.mark.parametrize(
    "data",
    [PADDED, {name: torch.tensor(rows) for name, rows in PADDED.items()}, [PADDED]],
    ids=["lists", "tensors", "batches"],
)
def test_what_a_mask_calls_a_pad_is_no_token(data):
    assert rows_of(data) == [[5, 6, 7], [8, 9]]


@pytest.mark.parametrize(
    "data",
    [
        list(range(10)),
        range(10),
        np.arange(10, dtype=np.uint16),
        torch.arange(10),
        iter(range(10)),
        pandas.Series(range(10)),
    ],
    ids=lambda data: type(data).__name__,
)
def test_one_long_row_of_token_ids_is_cut_into_passages(data):
    assert rows_of(data) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_a_column_or_a_split_can_be_named():
    texts = datasets.Dataset.from_dict({"body": TEXTS})

    assert rows_of(texts, text_column="body") == TEXTS
    assert rows_of({"test": texts}, text_column="body", split="test") == TEXTS
    assert rows_of({"ids": IDS}, text_column="ids") == IDS


def test_what_can_be_had_only_once_is_read_no_further_than_needed_and_can_be_read_again():
    taken = []

    def endless():
        while True:
            taken.append(len(taken))
            yield f"text {len(taken)}"

    given = Given(endless())

    assert list(RowReader(given).first(1)) == ["text 1"]
    assert list(RowReader(given).first(2)) == ["text 1", "text 2"]
    assert len(taken) == 2


def test_data_has_a_name_that_can_be_written_down():
    given = named_or_given(TEXTS)

    assert given == IN_MEMORY
    assert isinstance(given, Given)
    assert given.source is TEXTS
    assert named_or_given(given) is given


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ([], r"'in memory' is empty: it has no rows \(what was handed over may have been used up"),
        ([b"text"], r"Row 0 of the dataset holds bytes, not text or token ids"),
        ([1.5, 2.0], r"Row 0 of the dataset holds float, not text"),
        ([True, False], r"Row 0 of the dataset holds bool, not text"),
        ([TEXTS], r"Row 0 of the dataset holds a list of str, not text"),
        ([[1.0, 2.0]], r"Row 0 of the dataset holds a list of float, not text"),
        ([[2**70, 1]], r"Row 0 of the dataset holds a list of int, not text"),
        ([[{"role": "user", "content": "a"}]], r"a list of dict, .*apply_chat_template\(mess"),
        ([None, None], r"None of the 2 rows .* \(2 blank\)"),
        ([1, 2, "three"], r"holds token ids, but at 2 there is str"),
        (set(TEXTS), r"A set is no dataset that can be read\. Give a list of texts"),
        (io.StringIO("text"), r"A StringIO is no dataset that can be read"),
        (np.array(3), r"A single number is no dataset"),
        (
            [(torch.tensor([1, 2]), torch.tensor([2, 3]))],
            r"Row 0 .* is a tuple of 2, such as \(inp",
        ),
        (object(), r"object is no dataset"),
        ({"a": 1, "b": 2}, r"a mapping of 'a', 'b', without 'text'\. Name .* with text_column"),
        (pandas.DataFrame({"t": TEXTS}), r"no field 'text' in the dataset, only 't'"),
        (datasets.Dataset.from_dict({"t": TEXTS}), r"no field 'text' in row 0 .*, only 't'"),
        (["a.txt", "b.txt"], r"The first text is 'a\.txt', which is the name of a file"),
        (["fine", "a \ud800"], r"Row 2 holds half a character \(the lone surrogate U\+D800, at 2"),
        (
            {"input_ids": [[1, 2]], "attention_mask": [[1, 1, 0]]},
            r"input_ids and attention_mask have not the same shape",
        ),
        ({"input_ids": ["text"]}, r"'input_ids' of the dataset holds something else than token"),
    ],
)
def test_what_is_no_data_is_told(data, told):
    with pytest.raises(DatasetError, match=told):
        rows_of(data)


@pytest.mark.parametrize(
    "data",
    [
        ["a b", None, "c d"],
        pandas.Series(["a b", float("nan"), "c d"]),
        pandas.DataFrame({"text": pandas.array(["a b", None, "c d"], dtype="string")}),
        datasets.Dataset.from_dict({"text": ["a b", None, "c d"]}),
        pyarrow.array(["a b", None, "c d"]),
        pyarrow.chunked_array([["a b"], [None, "c d"]]),
    ],
    ids=lambda data: type(data).__name__,
)
def test_nulls_are_blank_rows(data):
    rows = RowReader(named_or_given(data)).first(9)

    assert (list(rows), rows.left_out) == (["a b", "c d"], {"blank": 1})


@pytest.mark.parametrize("data", [None, True, b"text", print], ids=str)
def test_what_can_be_no_dataset_at_all_is_refused(data):
    with pytest.raises(ValueError, match="name a dataset or a path, or give texts or token ids"):
        named_or_given(data)
