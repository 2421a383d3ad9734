"""Which names can only mean a file below a directory: the guard before every write of a run."""

from pathlib import Path, PurePosixPath

from backlight.errors import RunDirectoryError, quoted

_LONGEST_PART, _LONGEST = 200, 1000  # bytes, within what every file system takes


def fault_of(name: str) -> str | None:
    """Say why a name may mean something outside of the directory, on any system.

    Args:
        name: A relative path with forward slashes, such as ``tables/layers.csv``.

    Returns:
        The reason, None if the name is a plain one.
    """
    parts = name.split("/")
    if any(not character.isprintable() for character in name):
        return "it has characters that cannot be printed"  # NUL, escapes, lone surrogates
    if "\\" in name or ":" in name:
        return "it has a backslash or a colon, which mean other places on some systems"
    if name.startswith(("/", "~")):
        return "it is absolute"
    if any(part in ("", ".", "..") for part in parts):
        return "it has an empty part, '.' or '..'"
    longest = max(len(part.encode()) for part in parts)
    if longest > _LONGEST_PART or len(name.encode()) > _LONGEST:
        return "it is too long"
    return None


def below(root: Path, name: str) -> Path:
    """Give the path of a file that is to be written or deleted, if it is below a directory.

    Args:
        root: The directory; it may itself be reached through a link.
        name: The file's name in it. It may come from anywhere.

    Returns:
        The path; nothing on the way from ``root`` to it is a symbolic link, nor is it one itself.

    Raises:
        RunDirectoryError: If the name may mean something else.
    """
    fault = fault_of(name)
    if fault is not None:
        raise RunDirectoryError(
            f"{quoted(name)} cannot be the name of a file in {quoted(root)}: {fault}."
        )
    path = root
    for part in PurePosixPath(name).parts:
        path /= part
        if Path(path).is_symlink():
            raise RunDirectoryError(
                f"{quoted(path)} is a symbolic link, which backlight did not make; it writes "
                "and deletes nothing through links. Move it away, or name another directory."
            )
    return path
