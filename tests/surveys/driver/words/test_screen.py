"""One screen: what is left out where there is no room, and where everything went."""

import numpy as np
import pytest
from rich.cells import cell_len

from backlight import cli
from backlight.runs.directory import RunDirectory
from backlight.runs.results import Results
from backlight.surveys.driver.words.printing import Column, Shown
from backlight.surveys.driver.words.screen import first_of, screen, where_it_went, wrapped
from backlight.tables import Table

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

    assert len(lines) == 24
    headings = ("first   (8 of 50 rows)", "second   (7 of 50 rows)", "third")
    assert [lines.index(name) for name in headings] == [2, 12, 21]


def test_without_room_tables_go_from_the_last_and_sentences_stay():
    lines = laid_out(8 * [SENTENCE], [shown(3, "first"), shown(3, "second"), "A note."], ["p"])

    assert any(line.startswith("first") for line in lines)
    assert not any(line.startswith("second") for line in lines)
    assert "A note." in lines
    assert len(lines) <= 24


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


def finished(path, *files):
    run = RunDirectory.create(path, {}, {"command": "layers"})
    for name in files:
        run.write_bytes(name, b"")
    run.finish({})
    return Results(path=path)


def test_the_page_the_main_picture_and_the_command_are_named(tmp_path):
    path = tmp_path / "a run"
    results = finished(path, "index.html", "a.png", "top_mean.png", "top_mean_abs.png", "b.svg")

    assert where_it_went(results, "layers", "top_*.png") == [
        f"Page      {path}/index.html",
        f"Figures   4 in {path}, such as top_mean_abs.png",
        f"Tables    {path}/tables/*.csv",
        f"Again     backlight layers '{path}/config.yaml'",
    ]


def test_what_there_is_not_is_not_named(tmp_path):
    assert where_it_went(Results(), "layers", "*") == []
    assert where_it_went(finished(tmp_path / "run"), "layers", "*") == [
        f"Tables    {tmp_path}/run/tables/*.csv",
        f"Again     backlight layers {tmp_path}/run/config.yaml",
    ]


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
