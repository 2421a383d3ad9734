"""Malformed input on the command line, and what must hold whatever comes in."""

import contextlib
import hashlib
import io
import re
import signal
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Outcome", "attack", "within_seconds"]

_LONGEST = 1500  # characters of a sentence: what it quotes of a stranger is at most 200 of them
_SECONDS = 120  # a guard against hanging, not a measure: an answer is due within a few seconds
_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a command did.

    Attributes:
        status: Its exit status.
        out: What it printed.
        err: What it said on standard error.
    """

    status: int
    out: str
    err: str


def attack(
    words: Sequence[str], *, place: Path, results: Sequence[Path] = (), ok: bool = False
) -> Outcome:
    """Run a command in-process on something hostile, and check what must always hold.

    It ends with an exit status of its own and no traceback; a user's mistake is one line that
    begins with the program's name; nothing that it prints steers a terminal; and no file of
    ``place`` changes but those below ``results``.

    Args:
        words: The command line.
        place: A folder that holds all inputs; whatever must stay as it is lies in it.
        results: What may change: paths below ``place``.
        ok: The command may also succeed.

    Returns:
        What it did, for further checks.
    """
    from backlight import cli  # after the import hook

    before = _content(place, results)
    out, err = io.StringIO(), io.StringIO()
    with within_seconds(_SECONDS), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = cli.main(list(words))
    outcome = Outcome(status=status, out=out.getvalue(), err=err.getvalue())
    told = f"{words}: exit {status}\n{outcome.out}\n{outcome.err}"
    assert status in ((0, 1, 2) if ok else (1, 2)), told
    assert "Traceback" not in outcome.err, told
    assert not _UNSEEN.search(outcome.out + outcome.err), told
    if status == 2:
        last = outcome.err.splitlines()[-1] if outcome.err else ""
        assert last.startswith("backlight: "), told
        assert len(last) <= _LONGEST, told
        assert outcome.out == "", told
    assert _content(place, results) == before, f"files changed: {told}"
    return outcome


@contextlib.contextmanager
def within_seconds(seconds: int) -> Generator[None, None, None]:
    """Fail, rather than hang, if the body takes very long."""

    def stop(number: int, frame: object) -> None:
        raise TimeoutError(f"no answer within {seconds} seconds")

    before: Callable[..., object] | int | None = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _content(place: Path, results: Sequence[Path]) -> dict[str, str]:
    """Digest every file of a folder but those below some paths; links are not followed."""
    found: dict[str, str] = {}
    for path in sorted(place.rglob("*")):
        if any(path == result or result in path.parents for result in results):
            continue
        if path.is_symlink():
            found[str(path)] = f"-> {path.readlink()}"
        elif path.is_file():
            found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[str(path)] = "folder or device"
    return found
