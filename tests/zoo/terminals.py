"""Terminals of any width, for tests that have none."""

import pytest


def terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """Make the commands believe that they write to a terminal.

    Args:
        monkeypatch: What is undone when the test ends.
        columns: How wide the terminal is.
    """
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", str(columns))
