"""The place of a trained dictionary: what may be made, replaced and deleted there."""

import json
import os
import re
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from backlight.atomic import scratch_name
from backlight.errors import RunDirectoryError, quoted
from backlight.runs.files import digest_of, read_file
from backlight.runs.lock import lock
from backlight.runs.places import refuse_place

TRAINING = "training.json"
"""How the dictionary was learned, and which files are its own; it is written last."""

_COMMAND = "backlight train-sae"


def refuse_occupied(path: Path, *, replacing: bool) -> None:
    """Refuse a place for a new dictionary if it cannot be put there, before it is trained.

    A dictionary that was about to be replaced when its command was killed is put back first.

    Args:
        path: The place. The directory itself takes this name when it is complete, so it can be no
            mount point, and not the directory that somebody stands in.
        replacing: A dictionary that was trained there before may be deleted.

    Raises:
        RunDirectoryError: If there is a file, a link, another dictionary or files of somebody
            else, or if nothing can be written there.
    """
    refuse_place(path, what="a dictionary")
    _refuse_special(path)
    _put_back(path)
    _refuse_others(path, replacing=replacing)


def scratch_of(path: Path) -> Path:
    """Name the directory in which a dictionary is written before it takes its place."""
    return path.with_name(f"{_start(path)}{scratch_name()}")


def put(scratch: Path, path: Path, *, replacing: bool) -> None:
    """Rename a complete directory, in place of an older dictionary if that was asked.

    Args:
        scratch: The complete directory.
        path: Its place.
        replacing: A dictionary that is there may be deleted.

    Raises:
        OSError: If it cannot take its place; what was there is still there.
    """
    old = scratch.with_suffix(".old")
    if path.is_dir() and replacing:
        _refuse_others(path, replacing=True)  # nobody put anything there in the meantime
        path.rename(old)
    try:
        scratch.rename(path)
    except OSError:
        if old.is_dir():
            old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _refuse_others(path: Path, *, replacing: bool) -> None:
    if not path.is_dir():
        return
    told = _told(path)
    foreign = _foreign(path, told)
    if foreign is not None:
        raise RunDirectoryError(
            f"{quoted(path)} holds files that were not written by train-sae, such as "
            f"{quoted(foreign)}; name another --output_dir."
        )
    if told and not replacing:
        raise RunDirectoryError(
            f"{quoted(path)} already holds a dictionary. Give --overwrite to replace it, or "
            "another --output_dir."
        )


def _refuse_special(path: Path) -> None:
    place, here = path.resolve(), Path.cwd().resolve()
    reasons = {
        "does not end in a name": path.name in ("", ".."),
        "is a symbolic link": path.is_symlink(),
        "is a mount point": os.path.ismount(place),
        "is the directory that you are in, or holds it": here.is_relative_to(place),
        "is your home directory, or holds it": _home().is_relative_to(place),
    }
    for reason, holds in reasons.items():
        if holds:
            raise RunDirectoryError(
                f"{quoted(path)} {reason}; a dictionary takes the name of a whole directory. "
                "Name a new one, such as --output_dir runs/my_dictionary."
            )


def _home() -> Path:
    try:
        return Path.home().resolve()
    except RuntimeError:  # this user has none
        return Path("/")


def _start(path: Path) -> str:
    return f".{path.name[:20]}-{digest_of(path.name.encode())[:8]}"  # names may be long


def _put_back(path: Path) -> None:
    """Undo what a command that was killed has begun: scraps go, the old dictionary comes back."""
    if not path.parent.is_dir():
        return
    pattern = re.compile(re.escape(_start(path)) + r"\.backlight-[0-9a-f]{16}\.(part|old)")
    for left in list(path.parent.iterdir()):
        if not pattern.fullmatch(left.name) or left.is_symlink() or not left.is_dir():
            continue
        held = lock(left)  # a command that goes on holds what it writes
        with suppress(OSError):
            if left.suffix == ".old" and not path.exists():
                left.rename(path)
            elif left.suffix == ".part" or _foreign(left, _told(left)) is None:
                shutil.rmtree(left)
        del held


def _told(path: Path) -> dict[str, str]:
    """Read which files a dictionary has that was trained at a place, with their SHA-256."""
    try:
        told = json.loads(read_file(path / TRAINING))
    except (RunDirectoryError, ValueError, RecursionError):
        return {}
    if not isinstance(told, dict) or not str(told.get("command")).startswith(_COMMAND):
        return {}
    digests = told.get("sha256")
    return {**digests, TRAINING: ""} if isinstance(digests, dict) else {}


def _foreign(path: Path, told: dict[str, str]) -> str | None:
    """Find something that train-sae did not write, or that was changed since."""
    folders = {str(parent) for name in told for parent in Path(name).parents}
    for file in sorted(path.rglob("*")):
        name, kind = file.relative_to(path).as_posix(), file.lstat().st_mode
        if stat.S_ISDIR(kind) and name in folders:
            continue
        if not stat.S_ISREG(kind) or name not in told:
            return name
        if name != TRAINING and digest_of(read_file(file)) != told[name]:
            return f"{name} (as it is now)"
    return None
