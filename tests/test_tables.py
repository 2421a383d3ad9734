import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backlight.errors import UsageError
from backlight.tables import Table

# Of control characters only the newline: a bare carriage return ends a line of CSV.
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\t"))
UNITS = st.none() | st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]))
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,11}", fullmatch=True)


@st.composite
def tables(draw):
    num_rows = draw(st.integers(1, 5))

    def cells(values):
        return st.lists(values, min_size=num_rows, max_size=num_rows)

    kinds = st.one_of(
        cells(st.integers(-(2**63), 2**63 - 1)).map(lambda rows: np.array(rows, np.int64)),
        cells(st.floats()).map(lambda rows: np.array(rows, np.float64)),
        # A column of text is told from one of numbers by a cell that is no number.
        cells(TEXT).map(lambda rows: np.array(["word", *rows[1:]], dtype=object)),
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
            assert read[name].tolist() == column.tolist()
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
    assert len(read) == 0
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
    assert len(chosen) == 2
    assert chosen.units == table.units


def test_an_axis_is_labelled_with_words_and_unit():
    table = Table(
        name="t",
        columns={"mean_abs": np.array([1.0]), "layer": np.array([1])},
        units={"mean_abs": "nats/unit"},
    )

    assert table.label("mean_abs") == "mean abs (nats/unit)"
    assert table.label("layer") == "layer"
