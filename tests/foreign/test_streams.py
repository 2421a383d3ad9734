"""Standard output and error that are full, closed, gone, narrow, or of few letters."""

import contextlib
import io
import os
import pty
import re
import subprocess
import sys

import pytest

from backlight import cli
from backlight.surveys.driver.words.terminal import console

_HELP = ["layers", "--help"]
_WRONG = ["layers", "--bogus"]


def shell(line, **environment):
    """Run a command in a shell, which can close and redirect its streams."""
    words = [sys.executable, "-m", "backlight"]
    return subprocess.run(
        ["bash", "-c", line.replace("backlight", " ".join(words), 1)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
        timeout=120,
    )


@pytest.mark.parametrize(
    ("line", "status", "told"),
    [
        ("backlight layers --help > /dev/full", 1, "cannot be written or read: No space left"),
        ("backlight layers --bogus 2> /dev/full", 2, ""),
        ("backlight layers --bogus 2>&-", 2, ""),
        ("backlight layers --help >&-", 0, ""),
        ("backlight layers --help >&- 2>&- <&-", 0, ""),
        ("set -o pipefail; backlight layers --help | true", 141, ""),
    ],
)
def test_streams_that_take_nothing_end_in_a_status_and_no_noise(line, status, told):
    done = shell(line)

    assert done.returncode == status, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert len(done.stderr.splitlines()) == bool(told)


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"COLUMNS": "1"},
        {"COLUMNS": "none", "TERM": "dumb", "NO_COLOR": "1"},
    ],
    ids=lambda environment: " ".join(environment),
)
def test_help_is_told_on_every_terminal(environment):
    done = shell("backlight layers --help", **environment)

    assert done.returncode == 0, done.stderr
    assert "Usage: backlight" in done.stdout


def printed_in_ascii(words):
    """Run a command whose streams know no letter beyond ASCII, as with LANG=C."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="ascii") for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = cli.main(words)
    return status, *(stream.buffer.getvalue().decode("ascii") for stream in (out, err))


def test_tables_are_printed_in_ascii_with_what_looks_alike(survey):
    for words in (survey(), survey(table=True)):
        status, printed, _ = printed_in_ascii(words)

        assert status == 0
        assert "+- se" in printed
        assert ("|" in printed) == ("--table" in words)
        assert not re.search(r"\\[ux]", printed)


def test_letters_that_have_no_likeness_are_printed_by_number():
    status, _, told = printed_in_ascii(["layers", "--dataset", "中é.txt"])

    assert status == 2
    assert "\\u4e2d\\xe9.txt" in told


class _Full(io.StringIO):
    def write(self, text):
        raise OSError(28, f"No space left on device for {len(text)} letters")


def test_progress_that_cannot_be_shown_stops_nothing(survey, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", _Full())

    assert cli.main(survey()) == 0


def test_what_cannot_be_printed_is_told(survey, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", _Full())

    assert cli.main(survey()) == 1
    assert (
        "What is printed, or a file, cannot be written or read: No space" in capsys.readouterr().err
    )


@pytest.mark.parametrize("columns", [20, 40, 80])
def test_tables_are_printed_in_narrow_windows(columns, survey, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    main, side = pty.openpty()
    with os.fdopen(side, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        assert console().width == columns
        os.set_blocking(side, False)  # what is not read is not written
        status = cli.main(survey(layers="0"))
    os.close(main)

    assert status == 0


def test_nothing_foreign_is_markup_in_the_console(capsys):
    console().print("[red]a[/red] :bomb: \x1b[2J \u202e")

    assert capsys.readouterr().out == "[red]a[/red] :bomb: \\x1b[2J \\u202e\n"
