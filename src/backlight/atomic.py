"""Files that are either whole or not there."""

import os
import re
import secrets
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

_SCRATCH = re.compile(r"\.backlight-[0-9a-f]{16}\.part")


def scratch_name() -> str:
    """Make the name of a half-written file; nobody else has or will have a file of that name."""
    return f".backlight-{secrets.token_hex(8)}.part"


def is_scratch(name: str) -> bool:
    """Return whether a name is one that ``scratch_name`` makes."""
    return _SCRATCH.fullmatch(name) is not None


@contextmanager
def replacing(path: Path) -> Generator[Path, None, None]:
    """Write a file that appears under its name when it is whole, in place of an older one.

    Args:
        path: The file, in a folder that is there.

    Yields:
        Where to write it. If the body fails, this is deleted and what was there before stays.

    Raises:
        OSError: If it cannot be written.
    """
    scratch = path.with_name(scratch_name())
    try:
        yield scratch
        scratch.replace(path)
    except BaseException:
        with suppress(OSError):  # it may not be there yet
            scratch.unlink()
        raise


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is never seen half-written.

    Args:
        path: The file; its folder is made if needed.
        content: What to write.

    Raises:
        OSError: If it cannot be written; what was there before is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as scratch, scratch.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
