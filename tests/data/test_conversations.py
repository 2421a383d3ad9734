"""Which conversations a dataset holds, wherever it is, and what is refused."""

import gzip
import json
from dataclasses import astuple

import pandas as pd
import pyarrow as pa
import pytest
from datasets import Dataset
from pyarrow import parquet

from backlight.data.conversations import Chat, Pair, read_conversations
from backlight.data.given import IN_MEMORY, Given
from backlight.errors import DatasetError
from zoo.chats import chat

PAIRS = [
    {"prompt": "2 + 2 =", "completion": " 4", "source": "school"},
    {"prompt": "The sky is", "completion": " blue.", "source": "park"},
]
CHATS = [{"messages": chat("Hello", "Hi", "Bye", "Bye")}, {"messages": chat("Who?", "I")}]


def read(dataset, **more):
    named = str(dataset) if isinstance(dataset, str) or hasattr(dataset, "parts") else dataset
    source = named if isinstance(named, str) else Given(named)
    return read_conversations(source, **{"num_samples": 100, **more})


def of(dataset, **more):
    return [row for _, row in read(dataset, **more).rows]


EXPECTED = [Pair(prompt=row["prompt"], completion=row["completion"]) for row in PAIRS]
SPOKEN = [Chat(messages=row["messages"]) for row in CHATS]


def json_lines(path, rows):
    text = "\n".join(json.dumps(row) for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def json_array(path, rows):
    path.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def json_held(path, rows):
    path.write_text(json.dumps({"version": 1, "data": rows}), encoding="utf-8")


def table_file(path, rows):
    parquet.write_table(pa.Table.from_pylist(rows), path)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("rows.jsonl", json_lines),
        ("rows.jsonl.gz", json_lines),
        ("rows.json", json_array),
        ("held.json", json_held),
        ("lines.json", json_lines),
        ("rows.parquet", table_file),
    ],
)
def test_pairs_and_chats_come_out_of_every_kind_of_file(tmp_path, name, write):
    for rows, expected in ((PAIRS, EXPECTED), (CHATS, SPOKEN)):
        write(tmp_path / name, rows)

        assert of(tmp_path / name) == expected


def test_a_file_of_one_chat_is_one_row(tmp_path):
    (tmp_path / "one.json").write_text(json.dumps(CHATS[0], indent=1), encoding="utf-8")

    assert of(tmp_path / "one.json") == SPOKEN[:1]


def test_a_table_of_cells_holds_pairs(tmp_path):
    pd.DataFrame(PAIRS).to_csv(tmp_path / "rows.csv", index=False)

    assert of(tmp_path / "rows.csv") == EXPECTED


@pytest.mark.parametrize(
    "hold",
    [
        list,
        iter,
        Dataset.from_list,
        pd.DataFrame,
        pa.Table.from_pylist,
        lambda rows: {"train": rows, "test": []},
        lambda rows: {name: [row[name] for row in rows] for name in rows[0]},
    ],
    ids=["list", "iterator", "datasets", "pandas", "pyarrow", "splits", "columns"],
)
def test_what_is_held_in_memory_is_read_too(hold):
    assert of(hold(PAIRS)) == EXPECTED
    assert of(hold(CHATS)) == SPOKEN


def test_a_pair_may_be_two_parts_of_a_chat():
    row = {"prompt": chat("a", "b", "c"), "completion": [{"role": "assistant", "content": "d"}]}

    assert of([row]) == [Chat(messages=chat("a", "b", "c", "d"), num_prompt=3)]


def test_chats_as_sharegpt_writes_them_are_the_same():
    said = [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Hi"}]

    assert of([{"conversations": said}]) == [Chat(messages=chat("Hello", "Hi"))]


def test_nulls_that_tables_fill_up_with_are_no_part_of_a_turn():
    turns = [{"role": "user", "content": "a", "calls": None}, {"role": "assistant", "content": "b"}]
    row = {"messages": turns, "tools": '[{"name": "look"}]', "chat_template_kwargs": {"x": 1}}

    assert of([row]) == [Chat(messages=chat("a", "b"), tools=[{"name": "look"}], settings={"x": 1})]


def test_other_columns_are_named():
    rows = [
        {"question": "a", "answer": "b", "prompt": "no", "completion": "no", "talk": chat("c", "d")}
    ]

    assert of(rows, columns=("question", "answer")) == [Pair(prompt="a", completion="b")]
    assert of(rows, columns=("talk",)) == [Chat(messages=chat("c", "d"))]


def test_rows_without_a_completion_are_left_out_and_counted():
    rows = [
        {"prompt": "a", "completion": " \n"},
        {"prompt": "a", "completion": None},
        {"messages": chat("a")},
        {"prompt": chat("a"), "completion": []},
        PAIRS[0],
        PAIRS[1],
    ]

    found = read(rows, min_characters=10, num_samples=1)

    assert [row for _, row in found.rows] == EXPECTED[1:]
    assert found.left_out == {"no_completion": 4, "too_short": 1}


def test_no_more_is_read_than_asked_for():
    def endless():
        while True:
            yield PAIRS[0]

    assert len(of(endless(), num_samples=3)) == 3


def test_other_conversations_have_another_fingerprint():
    prints = {read(rows).fingerprint() for rows in (PAIRS, PAIRS[:1], CHATS, CHATS[::-1])}
    moved = [{"prompt": "2 + 2 = ", "completion": "4"}, PAIRS[1]]

    assert len(prints | {read(moved).fingerprint()}) == 5
    assert read(PAIRS).fingerprint() == read(iter(PAIRS)).fingerprint()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"text": "a", "label": 1}], r"'prompt' and 'completion', or 'messages', or 'conver"),
        ([{"text": "a", "label": 1}], r"in row 0 of the dataset are 'text', 'label'\. Name"),
        ([{"prompt": "a"}], r"are 'prompt'\. Name the two columns"),
        ([PAIRS[0], "text"], "Row 1 of the dataset is str, not a mapping of columns"),
        ([{"prompt": 3, "completion": "b"}], "'prompt' in row 0 of the dataset holds int, not tex"),
        ([{"messages": "hello"}], "'messages' in row 0 of the dataset holds str, not a list of"),
        ([{"messages": [{"content": "a"}]}], "Turn 1 of the column 'messages' in row 0 of the"),
        ([{"messages": ["a"]}], "Turn 1 of the column 'messages' in row 0 of the dataset has no"),
        ([{"prompt": "\ud800", "completion": "b"}], r"Row 0 of the dataset holds half a character"),
        ([], "'in memory' is empty"),
        ([{"prompt": "a", "completion": ""}], r"None of the 1 rows .*\(1 have none, 0 are too"),
        ({"valid": PAIRS}, "a mapping of 'valid', without any of 'prompt', 'completion'"),
        ({"prompt": ["a"], "completion": []}, "The columns of the dataset differ in length"),
        (3.5, "A float is no dataset with columns"),
    ],
)
def test_what_holds_no_conversation_is_refused(rows, message):
    with pytest.raises(DatasetError, match=message):
        read(rows)


@pytest.mark.parametrize("name", ["shakespeare", "wikitext", "rows.txt"])
def test_plain_text_has_no_completions(name):
    with pytest.raises(DatasetError, match=f"'{name}' is plain text, without columns"):
        read(name)


def test_a_config_of_data_in_memory_names_no_file():
    with pytest.raises(DatasetError, match="was handed over in Python"):
        read(IN_MEMORY)


def test_a_line_that_is_no_object_is_told(tmp_path):
    (tmp_path / "rows.jsonl").write_text(
        '{"prompt": "a", "completion": "b"}\n3\n', encoding="utf-8"
    )

    with pytest.raises(DatasetError, match=r"Line 2 of .*rows.jsonl' is int, not a mapping"):
        read(tmp_path / "rows.jsonl")


def test_conversations_can_be_told_apart_by_value():
    assert astuple(EXPECTED[0]) == ("2 + 2 =", " 4")
