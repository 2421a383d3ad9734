"""What the index says of one run, or of one training, read in a moment."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backlight.errors import RunDirectoryError
from backlight.foreign.documents import read_json
from backlight.foreign.text import brief
from backlight.report.page.document import is_inert
from backlight.runs.directory import RunDirectory
from backlight.runs.results import PAGE
from backlight.tools.open.log import is_watched
from backlight.tools.open.thumbnails import thumbnail
from backlight.training.doctor.diagnosis import diagnose
from backlight.training.log.reading import HEADER, LOG, read_history

_CHEAP = 2**20  # bytes of a log that is judged for the index
_WRITTEN = ("consolidated_results.npz", "tables/", "metadata.json")
_DATED = len("2026-01-31T12:30")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the index.

    Attributes:
        path: The directory.
        command: What it is a run of.
        model: The model, empty if there is none.
        text: The text or the task, empty if there is none.
        started: When it began, as text that sorts by time; empty if it is not known.
        state: How far it is, or what a training's gradient looks like.
        num_tokens: How many tokens were measured; NaN if it is not known.
        has_page: There is a page in which only the script of this version can run.
        picture: A small PNG; empty if there is none.
    """

    path: Path
    command: str = ""
    model: str = ""
    text: str = ""
    started: str = ""
    state: str
    num_tokens: float = math.nan
    has_page: bool = False
    picture: bytes = b""


def row_of(path: Path, *, judges: bool) -> Row:
    """Read what the index says of a run, or of a training.

    Args:
        path: The directory.
        judges: Judge a training, if its log is short.

    Returns:
        The line; of a directory that is damaged, one that says so.
    """
    try:
        return _training(path, judges=judges) if is_watched(path) else _run(path)
    except RunDirectoryError:
        return Row(path=path, state="damaged, or not of backlight")
    except OSError as error:
        return Row(path=path, state=f"cannot be read: {error.strerror}")


def with_picture(row: Row) -> bytes:
    """Make the first picture of a run small; empty if it has none."""
    return thumbnail(row.path, _own(row.path), row.command)


def _run(path: Path) -> Row:
    directory = RunDirectory(path)
    config, names = directory.config(), _own(path)
    origin = _mapping(config["provenance"])
    measured = _mapping(origin.get("corpus")).get("num_tokens")
    is_finished = directory.is_finished
    if is_finished:
        measured = directory.manifest().get("num_tokens", measured)
    return Row(
        path=path,
        command=_text(origin.get("command")),
        model=_text(config.get("model_name")),
        text=_text(config.get("dataset") or config.get("task_type")),
        started=_time(origin.get("started")),
        state="finished" if is_finished else f"not finished: {_part(names)}",
        num_tokens=_number(measured),
        has_page=is_finished and PAGE in names and is_inert(path / PAGE),
    )


def _own(path: Path) -> Collection[str]:
    return RunDirectory(path).written()


def _part(names: Collection[str]) -> str:
    """Tell in which part a run is, or was stopped, by what it has written so far."""
    if any(name.endswith((".png", ".svg")) for name in names):
        return "drawing"
    if any(name.startswith(_WRITTEN) for name in names):
        return "writing"
    return "measuring" if "checkpoint.npz" in names else "begun"


def _training(path: Path, *, judges: bool) -> Row:
    header = read_json(path / HEADER, error=RunDirectoryError)
    log = path / LOG
    is_short = log.is_file() and log.stat().st_size <= _CHEAP
    return Row(
        path=path,
        command="training",
        started=_time(_mapping(header).get("started")),
        state=diagnose(read_history(path)).verdict if judges and is_short else "recorded",
        has_page=is_inert(path / PAGE),
    )


def _mapping(found: Any) -> Mapping[str, Any]:
    return found if isinstance(found, dict) else {}


def _text(found: Any) -> str:
    return "" if found is None else brief(found)


def _time(found: Any) -> str:
    return brief(found)[:_DATED].replace("T", " ") if isinstance(found, str) else ""


def _number(found: Any) -> float:
    is_number = isinstance(found, (int, float)) and not isinstance(found, bool)
    return float(found) if is_number and 0 <= found <= 2**53 else math.nan
