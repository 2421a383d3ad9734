"""Corpora of which no more is read than is needed."""

import datasets
import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from backlight.data.conversations import read_conversations
from backlight.data.corpora import RowReader
from backlight.data.given import Given
from backlight.data.hub import hub_records

NUM_GROUPS, NUM_ROWS = 40, 200


@pytest.fixture
def groups(tmp_path):
    """A parquet file of many row groups; a row says which group it is in."""
    path = tmp_path / "a.parquet"
    with parquet.ParquetWriter(path, pyarrow.schema([("text", pyarrow.string())])) as writer:
        for group in range(NUM_GROUPS):
            texts = [f"group {group} row {row}" for row in range(NUM_ROWS)]
            writer.write_table(pyarrow.table({"text": texts}))
    return str(path)


@pytest.fixture
def read(monkeypatch):
    """Which row groups were read."""
    seen, real = [], parquet.ParquetFile.iter_batches

    def iter_batches(self, *args, row_groups=None, **options):
        seen.extend(range(self.num_row_groups) if row_groups is None else row_groups)
        return real(self, *args, row_groups=row_groups, **options)

    monkeypatch.setattr(parquet.ParquetFile, "iter_batches", iter_batches)
    return seen


def group_of(row):
    return int(row.split()[1])


def test_no_more_row_groups_are_read_than_are_needed(groups, read):
    rows = list(RowReader(groups).first(250))

    assert read == [0, 1]
    assert rows[199:201] == ["group 0 row 199", "group 1 row 0"]


def test_row_groups_can_be_read_in_an_order_that_a_seed_draws(groups, read):
    rows = RowReader(groups, draws=3).first(450)

    order = np.random.default_rng(3).permutation(NUM_GROUPS)[:3].tolist()
    assert list(dict.fromkeys(map(group_of, rows))) == order
    assert read == order
    assert not rows.goes_on()


def test_all_rows_are_there_in_whatever_order(groups):
    in_order, drawn = (list(RowReader(groups, draws=draws).first(10**9)) for draws in (None, 1))

    assert len(in_order) == NUM_GROUPS * NUM_ROWS
    assert drawn != in_order
    assert sorted(drawn) == sorted(in_order)


@pytest.mark.parametrize(("num", "goes_on"), [(5, True), (9, False), (100, False)])
def test_a_stream_says_whether_its_beginning_is_read(tmp_path, num, goes_on):
    path = tmp_path / "a.txt"
    path.write_text("\n".join(["row"] * 9) + "\n\n", encoding="utf-8")

    rows = RowReader(str(path), draws=0).first(num)

    assert len(list(rows)) == min(num, 9)
    assert rows.goes_on() == goes_on


def test_a_parquet_file_of_one_row_group_is_a_stream(tmp_path):
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"text": ["row"] * 9}), path)

    assert RowReader(str(path), draws=0).first(5).goes_on()


def test_rows_of_a_large_corpus_are_read_as_they_are_gone_through(tmp_path):
    path = tmp_path / "a.txt"
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"row {number}\n\n" for number in range(20_000))
    reader = RowReader(str(path))

    rows = reader.first(15_000)

    assert reader.num_rows < 10_000
    assert list(rows) == [f"row {number}" for number in range(15_000)]
    assert rows.left_out == {"blank": 14_999}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A dataset as the hub has it, and with what it was loaded."""
    folder = tmp_path / "hub"
    folder.mkdir()
    table = pyarrow.table({"text": [f"row {number}" for number in range(100)]})
    parquet.write_table(table, folder / "train.parquet")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    asked, real = [], datasets.load_dataset

    def load_dataset(*args, **options):
        asked.append(options.get("streaming", False))
        return real(*args, **options, cache_dir=str(tmp_path / "cache"))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    real_builder = datasets.load_dataset_builder
    monkeypatch.setattr(
        datasets,
        "load_dataset_builder",
        lambda *args: real_builder(*args, cache_dir=str(tmp_path / "cache")),
    )
    return str(folder), asked


def first(folder, num, num_samples, split="train"):
    records = hub_records(folder, None, split=split, num_samples=num_samples)
    return [next(records)["text"] for _ in range(num)]


def test_of_a_dataset_of_the_hub_a_small_part_is_streamed_and_not_kept(hub, tmp_path):
    folder, asked = hub

    assert first(folder, 3, num_samples=3) == ["row 0", "row 1", "row 2"]

    assert asked == [True]
    assert not list((tmp_path / "cache").rglob("*.arrow"))


def test_what_is_in_the_cache_is_read_from_there(hub):
    folder, asked = hub
    whole = first(folder, 100, num_samples=None)

    assert first(folder, 3, num_samples=3) == whole[:3]

    assert asked == [False, False]


def test_a_part_that_the_split_names_is_fetched(hub):
    folder, asked = hub

    assert first(folder, 2, num_samples=2, split="train[50:]") == ["row 50", "row 51"]

    assert asked == [False]


@pytest.mark.parametrize(("num", "goes_on"), [(1, True), (2, False), (9, False)])
def test_conversations_say_whether_their_beginning_is_read(num, goes_on):
    rows = [{"prompt": "2 + 2 =", "completion": " 4"}] * 2 + [{"prompt": "", "completion": ""}]

    found = read_conversations(Given(rows), num_samples=num, looks_on=True)

    assert found.goes_on == goes_on
    assert found.left_out == ({"no_completion": 1} if num > 2 else {})
    assert not read_conversations(Given(rows), num_samples=num).goes_on
