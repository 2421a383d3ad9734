"""Rows and objects out of JSON."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backlight.data.records import read_json_document, read_json_lines, read_objects
from backlight.errors import DatasetError

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
SHARED = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@SHARED
@given(
    texts=st.lists(TEXTS, min_size=1, max_size=5),
    ascii_only=st.booleans(),
    indent=st.sampled_from([None, 2]),
)
def test_what_python_writes_is_read_back(tmp_path, texts, ascii_only, indent):
    objects = [{"id": 1, "text": text} for text in texts]
    array, rows = tmp_path / "a.json", tmp_path / "a.jsonl"
    array.write_text(json.dumps(objects, ensure_ascii=ascii_only, indent=indent), encoding="utf-8")
    rows.write_text(
        "".join(json.dumps(each, ensure_ascii=True) + "\n\n" for each in objects), encoding="utf-8"
    )

    assert list(read_json_document(array, "text")) == texts
    assert list(read_json_lines(rows, "text")) == texts
    assert list(read_json_document(rows, "text")) == texts
    for path in (array, rows):
        assert [found for _, found in read_objects(path)] == objects


@pytest.mark.parametrize(
    "content", [{"a": 1}, [{"a": 1}], {"data": [{"a": 1}], "version": 2}], ids=["one", "all", "in"]
)
@pytest.mark.parametrize("indent", [None, 1])
def test_objects_may_stand_in_a_document(tmp_path, content, indent):
    (tmp_path / "a.json").write_text(json.dumps(content, indent=indent))

    assert [found for _, found in read_objects(tmp_path / "a.json")] == [{"a": 1}]


@SHARED
@given(content=st.text(st.sampled_from('[]{}",:0eE-+.\\ud8 \n\r\ttextnul'), max_size=30))
def test_any_text_is_rows_or_one_sentence(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_text(content, encoding="utf-8")

    for read in (read_json_document, read_json_lines):
        try:
            list(read(path, "text"))
        except DatasetError as error:
            told = str(error)
        else:
            told = ""
        assert "\n" not in told
        assert len(told) < 800


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[1]", r"There is int in row 1 of .*, not an object"),
        ('{"a": 1}\n\n"b"', r"There is str in line 3 of .*, not an object"),
        ('{"a": 1}\n{', r"Line 2 of .* is not JSON"),
        ('{"a": 1, "a": 2}', r"the key 'a' is there twice"),
        ("[" * 100_000, r"nested too deeply"),
    ],
)
def test_what_are_no_objects_is_told_with_its_place(tmp_path, content, told):
    (tmp_path / "a.jsonl").write_text(content, encoding="utf-8")

    with pytest.raises(DatasetError, match=told):
        list(read_objects(tmp_path / "a.jsonl"))
