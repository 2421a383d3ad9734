import copy
import csv
import io
import pickle
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backlight.errors import UsageError
from backlight.tables import Table

POISON = ("=cmd()", "+1+1", "-2+3", "@SUM(A1)", "'=x", "'s", "'", "''", "\\", "'\\", "\t=1", "\r")
LETTERS = st.characters(exclude_characters="\0") | st.sampled_from("=+-@'\\ \n\r\t[]\u202e\x1b0e.")
TEXT = st.sampled_from(POISON) | st.text(LETTERS) | st.text("0123456789e.-+_ ")
UNITS = st.none() | TEXT
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,11}", fullmatch=True) | TEXT


@st.composite
def tables(draw):
    num_rows = draw(st.integers(1, 5))

    def cells(values):
        return st.lists(values, min_size=num_rows, max_size=num_rows)

    kinds = st.one_of(
        cells(st.integers(-(2**63), 2**63 - 1)).map(lambda rows: np.array(rows, np.int64)),
        cells(st.floats()).map(lambda rows: np.array(rows, np.float64)),
        cells(TEXT).map(lambda rows: np.array(rows, dtype=object)),
    )
    columns = draw(st.dictionaries(NAMES, kinds, min_size=1, max_size=4))
    units = {name: unit for name in columns if (unit := draw(UNITS)) is not None}
    return Table(name="drawn", columns=columns, units=units)


@given(table=tables())
def test_a_table_comes_back_from_csv_as_it_was(table):
    read = Table.from_csv("drawn", table.to_csv())

    assert list(read.columns) == list(table.columns)
    assert read.units == table.units
    for name, column in table.columns.items():
        if column.dtype.kind == "O":
            assert [str(value) for value in read[name].tolist()] == column.tolist()
        else:
            assert read[name].dtype == column.dtype
            np.testing.assert_array_equal(read[name], column)
    assert read.to_csv() == table.to_csv()


def test_headings_carry_units_and_nan_is_an_empty_cell():
    table = Table(
        name="layers",
        columns={"layer": np.array([0, 1]), "mean": np.array([0.1, np.nan])},
        units={"mean": "nats/unit"},
    )

    assert table.to_csv() == "layer,mean [nats/unit]\n0,0.1\n1,\n"


def test_a_unit_may_hold_brackets():
    table = Table(name="t", columns={"x": np.array([1.5])}, units={"x": "a [b] c]"})

    assert Table.from_csv("t", table.to_csv()).units == {"x": "a [b] c]"}


def test_a_column_with_nothing_known_stays_a_column_of_floats():
    table = Table(name="t", columns={"se": np.array([np.nan, np.nan])})

    read = Table.from_csv("t", table.to_csv())["se"]

    assert read.dtype == np.float64
    assert np.isnan(read).all()


@pytest.mark.parametrize("digits", ["9" * 30, "-" + "9" * 30], ids=["above", "below"])
def test_text_that_starts_with_a_number_beyond_int64_is_read_as_text(digits):
    table = Table(name="t", columns={"token": np.array([digits, "word"], dtype=object)})

    assert Table.from_csv("t", table.to_csv())["token"].tolist() == [digits, "word"]


@pytest.mark.parametrize(
    ("text", "line"), [("a,b\n1,2\n3\n", 3), ("a,b\n1,2,3\n", 2)], ids=["cut", "too long"]
)
def test_a_row_of_another_length_is_named(text, line):
    with pytest.raises(
        UsageError, match=rf"Line {line} of table 'layers' has . cells, but there are 2 columns"
    ):
        Table.from_csv("layers", text)


def test_an_empty_file_is_no_table():
    with pytest.raises(UsageError, match=r"The table 'layers' is an empty file"):
        Table.from_csv("layers", "")


def test_a_table_without_rows_keeps_its_columns():
    read = Table.from_csv("t", "layer,mean [nats]\n")

    assert list(read.columns) == ["layer", "mean"]
    assert read.num_rows == 0
    assert read.units == {"mean": "nats"}


def test_columns_have_one_length():
    with pytest.raises(AssertionError, match=r"unequal length: \{'a': 1, 'b': 2\}"):
        Table(name="t", columns={"a": np.array([1]), "b": np.array([1, 2])})


def test_a_unit_needs_its_column():
    with pytest.raises(AssertionError, match=r"a unit for a column that is not there"):
        Table(name="t", columns={"a": np.array([1])}, units={"b": "nats"})


def test_rows_are_selected_in_all_columns():
    table = Table(
        name="t",
        columns={"layer": np.array([0, 1, 1]), "text": np.array(["a", "b", "c"])},
        units={"layer": "index"},
    )

    chosen = table.select(table["layer"] == 1)

    assert chosen["text"].tolist() == ["b", "c"]
    assert chosen.num_rows == 2
    assert chosen.units == table.units


def test_an_axis_is_labelled_with_words_and_unit():
    table = Table(
        name="t",
        columns={"mean_abs": np.array([1.0]), "layer": np.array([1])},
        units={"mean_abs": "nats/unit"},
    )

    assert table.label("mean_abs") == "mean abs (nats/unit)"
    assert table.label("layer") == "layer"


TABLE = Table(
    name="layers <b>",
    columns={
        "layer": np.arange(30),
        "mean": np.linspace(0, 1, 30),
        "token": np.array(["<script>", "\x1b[2J", "x" * 500] * 10),
    },
    units={"mean": "nats <i>"},
)


def test_a_table_is_a_mapping_from_names_to_columns():
    assert isinstance(TABLE, Mapping)
    assert "layer" in TABLE
    assert "sites" not in TABLE
    assert 0 not in TABLE
    assert len(TABLE) == 3
    assert TABLE.num_rows == 30
    assert list(TABLE) == list(TABLE.keys()) == ["layer", "mean", "token"]
    assert dict(TABLE) == dict(TABLE.items()) == {**TABLE}
    assert [len(column) for column in TABLE.values()] == [30] * 3
    assert TABLE.get("sites") is None
    assert TABLE.get("layer") is TABLE["layer"]
    assert (lambda **columns: list(columns))(**TABLE) == list(TABLE)


def test_an_unknown_column_is_named_with_its_neighbours():
    with pytest.raises(KeyError, match=r"no column 'layers'. Did you mean layer\?"):
        TABLE["layers"]
    with pytest.raises(KeyError, match=r"There are layer, mean, token"):
        TABLE["qqqq"]


def test_tables_are_equal_if_all_they_hold_is():
    def made(*values, unit="nats", name="t"):
        return Table(name=name, columns={"a": np.array(values)}, units={"a": unit})

    assert made(1.0, np.nan) == made(1.0, np.nan)
    assert made(1.0) != made(2.0)
    assert made(1.0) != made(1.0, 2.0)
    assert made(1.0) != made(1.0, unit="bits")
    assert made(1.0) != made(1.0, name="u")
    assert made("a") == made("a")
    assert made(1.0) != {"a": np.array([1.0])}
    with pytest.raises(TypeError, match="unhashable"):
        hash(made(1.0))


def test_a_table_survives_copying_and_pickling():
    for found in (copy.copy(TABLE), copy.deepcopy(TABLE), pickle.loads(pickle.dumps(TABLE))):
        assert found == TABLE


def test_a_table_becomes_a_data_frame_that_keeps_its_units():
    pandas = pytest.importorskip("pandas")

    frame = TABLE.to_pandas()

    assert frame.attrs == {"name": "layers <b>", "units": {"mean": "nats <i>"}}
    assert list(frame.columns) == list(TABLE)
    assert frame["token"].tolist() == TABLE["token"].tolist()
    assert frame["layer"].dtype == np.int64
    pandas.testing.assert_frame_equal(frame, pandas.DataFrame(dict(TABLE)), check_dtype=False)
    frame.loc[0, "layer"] = 99
    assert TABLE["layer"][0] == 0


def test_a_table_is_no_array_of_its_names():
    with pytest.raises(TypeError, match=r"no array; use dict\(table\), table\[column\] or "):
        np.asarray(TABLE)


def test_without_pandas_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="becomes a DataFrame with pandas: pip install pandas"):
        TABLE.to_pandas()


def test_a_table_in_a_notebook_shows_its_first_rows_and_no_markup_of_others():
    shown = TABLE._repr_html_()

    assert shown.count("<tr>") == 1 + 20
    assert "and 10 more rows" in shown
    assert "&lt;script&gt;" in shown
    assert "mean [nats &lt;i&gt;]" in shown
    assert "layers &lt;b&gt;" in shown
    assert r"\x1b[2J" in shown
    assert "x" * 61 not in shown
    for markup in ("<script", "<b>", "<i>", "\x1b"):
        assert markup not in shown


def test_a_table_is_told_in_a_few_lines():
    lines = repr(TABLE).splitlines()

    assert lines[0] == "Table 'layers <b>', 30 rows:"
    assert lines[1].split() == ["layer", "0,", "1,", "2,", "3,", "..."]
    assert r"\x1b[2J" in lines[3]
    assert "\x1b" not in repr(TABLE)
    assert repr(Table(name="t", columns={})) == "Table 't', 0 rows:"


@pytest.mark.parametrize(
    "text", ["=cmd()", "+1+1", "-1+2", "@SUM(A1)", "\t=1", "\r=1", "＝1", "=1"]
)
def test_no_cell_is_a_formula_and_the_text_comes_back(text):
    table = Table(name="t", columns={text: np.array([text, "word"])}, units={text: text})

    written = table.to_csv()
    read = Table.from_csv("t", written)

    (heading,), (cell,), _ = csv.reader(io.StringIO(written, newline=""))
    assert heading[0] == cell[0] == "'"
    assert read[text].tolist() == [text, "word"]
    assert read.units == {text: text}


def test_numbers_are_no_formulas():
    column = np.array(["-1.5", "+2", "1e-3", "word"])
    table = Table(name="t", columns={"n": np.array([-1.5, 2, 0.5, 1]), "text": column})

    assert table.to_csv() == "n,text\n-1.5,-1.5\n2.0,+2\n0.5,1e-3\n1.0,word\n"


def test_text_of_digits_that_is_no_number_stays_text():
    for texts in (
        ["007", "12"],
        ["1_0"],
        ["", ""],
        ["1e5"],
        [" 5"],
        ["nan", "inf"],
        ["0x"],
        ["-0"],
    ):
        table = Table(name="t", columns={"token": np.array(texts)})
        read = Table.from_csv("t", table.to_csv())
        assert [str(value) for value in read["token"].tolist()] == texts


@pytest.mark.parametrize(
    "text", ["\x1b[2J", "\u202eabc", "\ud800", "\x00a", "a\rb", "\u200b", "\u2028", "\ufeff"]
)
def test_nothing_in_a_file_steers_a_terminal_and_the_text_comes_back(text):
    table = Table(name="t", columns={"token": np.array([text, "x"], dtype=object)})

    written = table.to_csv()

    assert written.replace("\n", "").isprintable()
    assert Table.from_csv("t", written)["token"].tolist() == [text, "x"]


def test_what_older_files_hold_reads_as_it_stands():
    read = Table.from_csv("t", "token\n's\n'\n\\n\n=x\n'90s\n")
    assert read["token"].tolist() == ["'s", "'", "\\n", "=x", "'90s"]


def test_two_columns_of_one_name_are_refused():
    with pytest.raises(UsageError, match=r"The table 't' has two columns 'a': it was edited"):
        Table.from_csv("t", "a,b,a\n1,2,3\n")


def test_a_cell_beyond_what_csv_holds_is_refused():
    with pytest.raises(UsageError, match=r"The table 't' is not CSV: field larger than"):
        Table.from_csv("t", f"a\n{'x' * 200_000}\n")


def test_rows_are_selected_by_truth_or_by_number():
    table = Table(name="t", columns={"layer": np.array([0, 1, 2])}, units={"layer": "layers"})

    assert table.select(np.array([True, False, True]))["layer"].tolist() == [0, 2]
    assert table.select(np.array([2, 0]))["layer"].tolist() == [2, 0]
    assert table.select(np.array([2, 0])).units == table.units
