"""Tables of cells, however they are separated."""

import csv
import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backlight.data.delimited import read_cells
from backlight.errors import DatasetError

CELLS = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="\0\r\ufeff"), max_size=9
)


def cells_of(path, content, wanted=("text",)):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [cells for _, cells in read_cells(path, set(wanted))]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5),
    delimiter=st.sampled_from(",;\t|"),
    end=st.sampled_from(["\n", "\r\n"]),
    mark=st.booleans(),
)
def test_what_python_writes_is_read_back(tmp_path, rows, delimiter, end, mark):
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([("text", "other, or; not"), *rows])

    found = cells_of(tmp_path / "a.csv", "\ufeff" * mark + file.getvalue())

    # A file that stands in quotes begins with a mark only where the mark is no part of it.
    assert found == [{"text": one, "other, or; not": other} for one, other in rows]


def test_a_cell_may_be_longer_than_python_allows_by_itself(tmp_path):
    before = csv.field_size_limit()
    (row,) = cells_of(tmp_path / "a.csv", "text,id\n" + "x" * 200_000 + ",1\n")

    assert len(row["text"]) == 200_000
    assert csv.field_size_limit() == before


@pytest.mark.parametrize(
    "content",
    ["id,text,,\n1,a,,\n2,b,,\n", "id,text\n1,a,\n2,b,,\n", "id,text,\n1,a,\n2,b,\n"],
    ids=["blank_headings", "blank_cells", "both"],
)
def test_blank_columns_of_a_spreadsheet_do_not_count(tmp_path, content):
    rows = cells_of(tmp_path / "a.csv", content)

    assert rows == [{"id": "1", "text": "a"}, {"id": "2", "text": "b"}]


def test_a_row_of_blank_cells_is_blank_however_many_it_has(tmp_path):
    rows = cells_of(tmp_path / "a.csv", "id,text,n\n1,a,2\n,\n,,,,\n")

    assert rows[1:] == [{"id": "", "text": "", "n": ""}] * 2


def test_quoted_line_ends_are_of_the_cell(tmp_path):
    rows = cells_of(tmp_path / "a.csv", 'text,id\r\n"one\r\ntwo, ""three""",1\r\n')

    assert rows == [{"text": 'one\ntwo, "three"', "id": "1"}]


def test_the_columns_that_are_looked_for_decide_what_separates_them(tmp_path):
    rows = cells_of(tmp_path / "a.csv", "a,b,c;text\n1,2,3;one, two\n")

    assert rows == [{"a,b,c": "1,2,3", "text": "one, two"}]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            "text\none, two\n",
            r"Line 2 of .* has not as many cells as headings \(2, not 1\); a cell",
        ),
        ("text,id\none\n", r"Line 2 of .* has not as many cells as headings \(1, not 2\)"),
        ('text,id\n"a\nb",c\nd\n', r"Line 4 of "),
        ("sep=;\ntext;id\none\n", r"Line 3 of "),
        ("text,text\none,two\n", r"has two columns 'text'; rename one"),
        ('text,id\n"one,1\n', r"cannot be read as CSV: unexpected end of data \(line 2\)"),
        ('text,id\n"one"two,1\n', r"cannot be read as CSV: .* expected after .* \(line 2\)"),
        (b"text,id\n\xff,1\n", r"is not UTF-8 text \(byte 8, 0xFF"),
        ("text,id\nA\0B,1\n", r"there is a NUL at byte 9"),
    ],
)
def test_damage_is_told_with_its_line(tmp_path, content, told):
    with pytest.raises(DatasetError, match=told):
        cells_of(tmp_path / "a.csv", content)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.text(st.sampled_from('text,;\t|"\n\r a0=sep\ufeff'), max_size=40))
def test_any_text_is_a_table_or_one_sentence(tmp_path, content):
    try:
        rows = cells_of(tmp_path / "a.csv", content)
    except DatasetError as error:
        rows, told = [], str(error)
    else:
        told = ""
    assert len({tuple(row) for row in rows}) <= 1
    assert "\n" not in told
