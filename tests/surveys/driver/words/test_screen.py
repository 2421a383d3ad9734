"""One screen: what is left out where there is no room, and where everything went."""

from dataclasses import replace

import numpy as np
import pytest
from rich.cells import cell_len

from backlight import cli
from backlight.surveys.driver.words.account import COUNTED, context_column
from backlight.surveys.driver.words.lines import wrapped
from backlight.surveys.driver.words.printing import Column, Shown, Sign, number
from backlight.surveys.driver.words.screen import first_of, screen
from backlight.tables import Table
from zoo.terminals import terminal

SENTENCE = "Words and more words, and then some 1.0 ± 0.5 of 12 % of it. " * 3
LAB = ["lab", "rank-collapse", "--width", "8", "--positions", "4", "--seeds", "2"]


def shown(rows, *names, wraps=False, cell="cell"):
    columns = {name: np.array([f"{cell} {row}" for row in range(rows)]) for name in names}
    return Shown(
        table=Table(name="t", columns=columns),
        columns=[Column(name, name, wraps=wraps) for name in names],
    )


def laid_out(summary, brief, places=()):
    lines = [line.plain for line in screen(summary, brief, places)]
    assert max(map(cell_len, lines)) <= 100
    return lines


def test_everything_is_shown_if_there_is_room():
    lines = laid_out(["One."], [shown(2, "first"), "", "A note.", shown(1, "second")], ["Page  p"])

    assert lines == [
        *("One.", "", "first", "cell 0", "cell 1", "", "A note.", "", "second", "cell 0"),
        *("", "Page  p"),
    ]


def test_rows_are_left_out_of_all_tables_alike():
    lines = laid_out(["One."], [shown(50, "first"), shown(50, "second"), shown(2, "third")])

    assert len(lines) == 23  # there is a line behind each table, the last of which is blank
    headings = ("first   (7 of 50 rows)", "second   (7 of 50 rows)", "third")
    assert [lines.index(name) for name in headings] == [2, 11, 20]


def test_a_table_of_the_largest_rows_counts_all_that_there_are():
    largest = replace(shown(2, "first"), num_all=30)

    assert laid_out(["One."], [largest])[2] == "first   (2 of 30 rows)"
    assert laid_out(["One."], [replace(largest, num_all=2)])[2] == "first"
    lines = laid_out(["One."], [replace(shown(50, "first"), num_all=2304)])
    assert lines[2] == "first   (20 of 2,304 rows)"


def test_a_table_without_rows_is_left_out():
    lines = laid_out(["One."], [shown(0, "first"), shown(1, "second"), "A note."])

    assert lines == ["One.", "", "second", "cell 0", "", "A note."]


def test_without_room_tables_go_from_the_last_and_sentences_stay():
    lines = laid_out(8 * [SENTENCE], [shown(3, "first"), shown(3, "second"), "A note."], ["p"])

    assert any(line.startswith("first") for line in lines)
    assert not any(line.startswith("second") for line in lines)
    assert "A note." in lines
    assert len(lines) <= 24


@pytest.mark.parametrize("letters", range(60, 101))
def test_a_table_that_is_cut_always_says_so(letters):
    wide = shown(50, "a", cell=letters * "x")

    for places in ([], ["p"]):
        lines = laid_out(["One."], [wide, "A note."], places)

        (told,) = (line for line in lines if line.endswith(" of 50 rows)"))
        num_rows = sum(line.startswith("xxx") for line in lines)
        assert f"   ({num_rows} of 50 rows)" in told
        assert len(lines) <= 24
        assert lines.count("xxx") == 0


def test_tables_without_room_are_counted_behind_the_last_line():
    tables = [shown(3, name) for name in ("first", "second", "third")]

    lines = laid_out(8 * [SENTENCE], [*tables, "A note."], ["p"])

    assert lines[-3:] == ["A note.", "   (2 more tables with --table)", "p"]
    assert "more" not in " ".join(laid_out(["One."], tables))


MARKED = Sign("~", "~: marked.")


def marked(marks, *, text="cell", name="row"):
    columns = {name: np.array([f"{text} {row}" for row in range(len(marks))]), "~": np.array(marks)}
    return Shown(
        table=Table(name="t", columns=columns),
        columns=[Column(name, name, wraps=True), Column("~", "~", sign=MARKED)],
    )


def test_a_sign_is_explained_before_the_sentences_below_its_table():
    lines = laid_out(["One."], [marked(["", "~"]), shown(1, "other"), "A note.", "Checks."])

    assert lines[-3:] == ["~: marked. A note.", "", "Checks."]
    assert laid_out(["One."], [marked(["~"]), marked(["~"])])[-1] == "~: marked."


def test_a_sign_that_is_not_to_be_seen_is_not_explained():
    below = [""] * 40 + ["~"]

    for table in (marked([""]), marked([""], text="~"), marked(below)):
        assert "marked" not in " ".join(laid_out(["One."], [table, "A note."], ["p"]))


@pytest.mark.parametrize("row", range(24))
def test_a_sign_is_explained_if_and_only_if_it_is_to_be_seen(row):
    table = marked([""] * row + ["~"] + [""] * 30)
    taller = Sign("~", 2 * SENTENCE.replace(" ± ", ", ").replace(" %", ""))
    table = replace(table, columns=[table.columns[0], replace(table.columns[1], sign=taller)])

    lines = laid_out(["One."], [table, "A note."], ["p"])

    is_seen = any(line.startswith("cell") and line.endswith("~") for line in lines)
    assert is_seen == ("Words and more words" in " ".join(lines))
    assert len(lines) <= 24


def test_a_sign_in_a_column_that_has_no_room_is_not_explained():
    table = marked(["~"])
    wide = Column("wide", cell=lambda table, row: 98 * "x")

    lines = laid_out(["One."], [replace(table, columns=[wide, table.columns[1]]), "A note."])

    assert lines[-1] == "A note."


@pytest.mark.parametrize("columns", [40, 60, 80, 172])
def test_what_is_marked_in_a_context_stays_where_a_terminal_is_narrow(columns, monkeypatch):
    terminal(monkeypatch, columns)
    context = 30 * "before " + "«token»" + 30 * " after"
    tables = {"context": np.array([context]), "number": np.array([1.5])}
    table = Shown(
        table=Table(name="t", columns=tables),
        columns=[Column("number", "number"), context_column("where", "context")],
    )

    lines = laid_out(["One."], [table])

    assert "«token»" in lines[-1]
    assert lines[-1].count("…") == 2
    assert cell_len(lines[-1]) == min(columns, 100)


def test_the_marks_of_what_the_loss_counts_are_explained_where_they_are_to_be_seen():
    def lines(context):
        table = Table(name="t", columns={"context": np.array([context])})
        return laid_out(["One."], [Shown(table=table, columns=[context_column("c", "context")])])

    assert lines("⟦some «token»⟧")[-1] == COUNTED.meaning
    assert lines(f"⟦some{99 * ' far'} «token»{99 * ' far'}⟧")[-1].startswith("…")


def test_powers_of_ten_are_written_in_one_way():
    assert [number(value, ".2g") for value in (3.9e-6, 1.5e17, 0.1)] == ["3.9e-6", "1.5e17", "0.1"]
    assert number(-2e-10, ".1e", " nats") == "-2.0e-10 nats"


def test_a_line_breaks_between_words_and_not_within_a_number():
    lines = [
        line.plain for line in wrapped([7 * "word " + "word 0.123456 ± 0.000012 is 12 %. " * 9])
    ]

    assert len(lines) > 2
    assert all(line.count("0.123456") == line.count("0.000012") for line in lines)
    assert not any(line.startswith(("±", "%")) or line.endswith("±") for line in lines)


def test_a_cell_that_may_give_way_is_cut_and_a_number_never():
    wide = Shown(
        table=Table(
            name="t", columns={"text": np.array([150 * "浪"]), "number": np.array([1.23456])}
        ),
        columns=[Column("text", "text", wraps=True), Column("number", "number", ".5f")],
    )

    *_, row = laid_out(["One."], [wide])

    assert row.endswith("1.23456")
    assert "…" in row
    assert 98 <= cell_len(row) <= 100


def test_columns_that_have_no_room_are_left_out():
    lines = laid_out(["One."], [shown(1, "a", "b", "c", cell=40 * "x")])

    assert lines[2].split() == ["a", "b"]
    assert laid_out(["One."], [shown(1, "a", cell=200 * "x")])[3] == 99 * "x" + "…"


def test_only_as_many_sentences_as_fit_are_kept_and_the_others_counted():
    sentences = [f"{number}. {SENTENCE}" for number in range(9)]

    kept = first_of(sentences, 7)

    assert kept == [*sentences[:3], "... and 6 more sentences with --table."]
    assert len(wrapped(kept)) <= 7
    assert first_of(sentences[:2], 4) == sentences[:2]
    assert first_of(sentences[:4], 7)[-1] == "... and 1 more sentence with --table."


@pytest.mark.usefixtures("place")
def test_an_experiment_is_told_on_one_screen(capsys):
    assert cli.main([*LAB, "--output_dir", "run"]) == 0
    lines = capsys.readouterr().out.splitlines()

    assert len(lines) <= 24
    assert max(map(cell_len, lines)) <= 100
    assert any(line.startswith("quantity ") for line in lines)
    assert "Figures   1 in run" in lines
    assert lines[-1] == "Again     backlight lab rank-collapse run/config.yaml"

    assert cli.main([*LAB, "--output_dir", "run", "--resume", "--table"]) == 0
    table = capsys.readouterr().out
    assert len(table.splitlines()) > 40
    assert "more sentences" not in table

    assert cli.main([*LAB, "--output_dir", "run", "--resume", "--quiet"]) == 0
    assert capsys.readouterr().out == "run\n"
