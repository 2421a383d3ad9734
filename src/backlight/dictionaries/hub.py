"""Files of a repository on the hub: their names first, each one only when it is needed."""

from collections.abc import Sequence
from pathlib import Path

from backlight.errors import DictionaryError, quoted
from backlight.foreign.failures import network_failures
from backlight.foreign.hub import why_unreachable

_NOT_FETCHED = (
    "It could not be fetched either: check the name and the network (and, for a gated one, `hf "
    "auth login`)."
)


def names_of(repository: str) -> tuple[str, ...]:
    """List the files of a repository; without a network, those of it that were fetched before.

    Args:
        repository: Its id, ``owner/name``.

    Returns:
        The files' names, with their folders.

    Raises:
        DictionaryError: If there is no such repository, or it cannot be reached.
    """
    from huggingface_hub import list_repo_files

    unreachable = why_unreachable()
    if unreachable is not None:
        return _names_here(repository, unreachable)
    try:
        return tuple(list_repo_files(repository))
    except (OSError, ValueError, *network_failures()):  # the hub's own errors are OSErrors
        return _names_here(repository, _NOT_FETCHED)


def _names_here(repository: str, reason: str) -> tuple[str, ...]:
    """List what was fetched before."""
    try:
        folder = _snapshot(repository, (), local_files_only=True)
    except (OSError, ValueError, *network_failures()) as error:
        raise _not_there(repository, reason) from error
    files = (file for file in folder.rglob("*") if file.is_file())
    return tuple(file.relative_to(folder).as_posix() for file in files)


def fetch(repository: str, names: Sequence[str]) -> Path:
    """Fetch some files of a repository, unless they were fetched before.

    Args:
        repository: Its id.
        names: The files.

    Returns:
        The folder in which they are, by their names.

    Raises:
        DictionaryError: If they cannot be fetched.
    """
    try:
        folder = _snapshot(repository, names, local_files_only=False)
    except (OSError, ValueError, *network_failures()) as error:
        raise _not_there(repository, _NOT_FETCHED) from error
    if not all((folder / name).is_file() for name in names):  # without a network: what there is
        raise _not_there(repository, _NOT_FETCHED)
    return folder


def _snapshot(repository: str, names: Sequence[str], *, local_files_only: bool) -> Path:
    from huggingface_hub import snapshot_download

    wanted = [name.replace("[", "[[]") for name in names] or None
    folder = snapshot_download(repository, allow_patterns=wanted, local_files_only=local_files_only)
    return Path(folder)


def _not_there(repository: str, reason: str) -> DictionaryError:
    return DictionaryError(
        f"There is no folder {quoted(repository)}, and the hub's repository of that name is not in "
        f"the local cache. {reason} Or name a local folder that holds dictionaries."
    )
