"""Cities are read as they were written, and what does not fit is said in one sentence."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backlight.errors import CityError, StorageError
from backlight.world.cities import Cities, read_cities, write_cities

HEADINGS = "id,asciiname,x,y,country_code,region,city_id"
ROWS = ("0,Windhoek,171,-226,NA,Africa,865", "1,Atlantis_001,-350,350,XX0,Atlantis,7")


def cities(**others):
    columns = {
        "city_ids": [865, 7, 9999],
        "names": ["Windhoek", "Atlantis_001", "Washington, D.C."],
        "x": [171, -350, -770],
        "y": [-226, 350, 389],
        "country_codes": ["NA", "XX0", "US"],
        "regions": ["Africa", "Atlantis", "North America"],
        **others,
    }
    return Cities(**{name: np.array(column) for name, column in columns.items()})


def file_of(tmp_path, *lines):
    path = tmp_path / "cities.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def assert_same(one, other):
    for name in ("city_ids", "names", "x", "y", "country_codes", "regions"):
        assert getattr(one, name).tolist() == getattr(other, name).tolist()
        assert getattr(one, name).dtype.kind == getattr(other, name).dtype.kind


def test_namibia_and_commas_survive_writing_and_reading(tmp_path):
    path = tmp_path / "new" / "cities.csv"
    write_cities(cities(), path)
    assert path.read_text(encoding="utf-8").splitlines()[:2] == [
        "id,asciiname,x,y,country_code,region,city_id",
        "0,Windhoek,171,-226,NA,Africa,865",
    ]
    assert_same(read_cities(path), cities())
    assert [file.name for file in path.parent.iterdir()] == ["cities.csv"]


words = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), min_size=0, max_size=8)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 9999),
            words,
            st.integers(-1800, 1800),
            st.integers(-900, 900),
            words,
            words,
        ),
        min_size=1,
        max_size=5,
        unique_by=lambda row: row[0],
    )
)
def test_whatever_cities_are_called_they_are_read_back(tmp_path_factory, rows):
    city_ids, names, x, y, country_codes, regions = map(list, zip(*rows, strict=True))
    written = cities(
        city_ids=city_ids, names=names, x=x, y=y, country_codes=country_codes, regions=regions
    )
    path = tmp_path_factory.mktemp("cities") / "cities.csv"
    write_cities(written, path)
    assert_same(read_cities(path), written)


def test_columns_may_stand_in_any_order_among_others_after_a_byte_order_mark(tmp_path):
    path = tmp_path / "cities.csv"
    path.write_text(
        "population,region,city_id,country_code,y,x,asciiname\n500000,Africa,865,NA,-226,171,W\n",
        encoding="utf-8-sig",
    )
    read = read_cities(path)
    assert (read.names.tolist(), read.country_codes.tolist()) == (["W"], ["NA"])
    assert (read.x[0], read.y[0], read.city_ids[0]) == (171, -226, 865)


def test_arrays_are_whole_numbers_and_cannot_be_written_to():
    some = cities()
    for name in ("city_ids", "x", "y"):
        assert getattr(some, name).dtype == np.int64
        with pytest.raises(ValueError, match="read-only"):
            getattr(some, name)[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        some.names[0] = "elsewhere"


def test_cities_do_not_share_the_arrays_they_were_made_of():
    x = np.array([1, 2, 3])
    some = cities(x=x)
    x[0] = 99
    assert some.x.tolist() == [1, 2, 3]


def test_taking_keeps_the_order_asked_for_and_finds_rows_anew():
    taken = cities().take([2, 0])
    assert len(taken) == 2
    assert taken.names.tolist() == ["Washington, D.C.", "Windhoek"]
    assert [taken.row_of(city_id) for city_id in (9999, 865)] == [0, 1]
    with pytest.raises(CityError, match=r"^No city has the id 7 among these 2 cities\.$"):
        taken.row_of(7)


@pytest.mark.parametrize("city_id", [-1, 8, 10_000])
def test_an_id_that_no_city_has_is_refused(city_id):
    with pytest.raises(CityError, match=f"^No city has the id {city_id} among these 3 cities"):
        cities().row_of(city_id)


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"x": [0, 1801, 0]}, r"'Atlantis_001' has x = 1801, .* x from -1800 to 1800\.$"),
        ({"y": [0, 0, -901]}, r"'Washington, D.C.' has y = -901, .* y from -900 to 900\.$"),
        ({"city_ids": [1, 12345, 2]}, r"'Atlantis_001' has the id 12345, but ids have four digits"),
        ({"city_ids": [-1, 0, 2]}, "'Windhoek' has the id -1, but ids have four digits"),
        ({"city_ids": [5, 2, 5]}, "The id 5 belongs to 'Windhoek' and to 'Washington, D.C.', but"),
    ],
)
def test_cities_that_do_not_fit_are_named(others, message):
    with pytest.raises(CityError, match=message):
        cities(**others)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], r"no column 'asciiname', 'x', 'y', .*; a file of cities has the columns id, ascii"),
        ([HEADINGS], r"holds no city, only headings\.$"),
        ([HEADINGS.replace("region", "part"), *ROWS], r"has no column 'region'; a file of cities"),
        ([HEADINGS, ROWS[0], "1,A,east,0,XX0,A,7"], r"Line 3 of .* has 'east' in the column 'x'"),
        ([HEADINGS, ROWS[0], "1,A,1,0.5,XX0,A,7"], r"Line 3 .* '0.5' .* 'y', .* not a whole numb"),
        ([HEADINGS, "1,A,1,2,XX0,A,"], r"Line 2 .* has '' in the column 'city_id'"),
        ([HEADINGS, "1,A,1,2,XX0,A," + "9" * 30], r"Line 2 .* 'city_id': too large\.$"),
        ([HEADINGS, "1,A,1,2,XX0,A"], r"Line 2 of .* has 6 cells, but there are 7 columns\."),
        ([HEADINGS, "1,A,1,2,XX0,A,10000"], r"csv': The city 'A' has the id 10000, but ids have"),
        ([HEADINGS, "1,A,1801,2,XX0,A,1"], r"csv': The city 'A' has x = 1801, beyond 1800"),
        ([HEADINGS, ROWS[0], ROWS[0]], r"csv': The id 865 belongs to 'Windhoek' and to 'Windhoek'"),
    ],
)
def test_a_file_that_is_no_table_of_cities_is_refused(tmp_path, lines, message):
    with pytest.raises(CityError, match=message):
        read_cities(file_of(tmp_path, *lines))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CityError, match=r"^There is no file of cities '.*nowhere\.csv'\.$"):
        read_cities(tmp_path / "nowhere.csv")


def test_a_file_in_another_encoding_is_refused(tmp_path):
    path = tmp_path / "cities.csv"
    path.write_bytes((HEADINGS + "\n0,S\xe3o Paulo,1,2,BR,A,1\n").encode("latin-1"))
    with pytest.raises(CityError, match=r"is not UTF-8 text \(byte \d+\); convert it first"):
        read_cities(path)


def test_a_cell_too_large_for_a_table_is_refused(tmp_path):
    with pytest.raises(CityError, match="is not a CSV file: field larger than"):
        read_cities(file_of(tmp_path, HEADINGS, "1," + "A" * 200_000))


def test_a_file_that_cannot_be_written_leaves_what_was_there(tmp_path):
    (tmp_path / "file").write_text("kept", encoding="utf-8")
    with pytest.raises(StorageError, match="cannot be written"):
        write_cities(cities(), tmp_path / "file" / "cities.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
