"""Files of a repository on the hub: their names first, each one only when it is needed."""

from collections.abc import Sequence
from pathlib import Path

from backlight.errors import DictionaryError, quoted
from backlight.foreign.failures import network_failures


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

    try:
        return tuple(list_repo_files(repository))
    except (OSError, ValueError, *network_failures()) as error:  # the hub's own errors are OSErrors
        try:
            folder = _snapshot(repository, (), local_files_only=True)
        except (OSError, ValueError, *network_failures()):
            raise _unreachable(repository) from error
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
        raise _unreachable(repository) from error
    if not all((folder / name).is_file() for name in names):  # without a network: what there is
        raise _unreachable(repository)
    return folder


def _snapshot(repository: str, names: Sequence[str], *, local_files_only: bool) -> Path:
    from huggingface_hub import snapshot_download

    wanted = [name.replace("[", "[[]") for name in names] or None
    folder = snapshot_download(repository, allow_patterns=wanted, local_files_only=local_files_only)
    return Path(folder)


def _unreachable(repository: str) -> DictionaryError:
    return DictionaryError(
        f"There is no folder {quoted(repository)}, and the hub's repository of that name is "
        "neither in the local cache nor could it be fetched: check the name and the network (and, "
        "for a gated one, `hf auth login`), or name a local folder."
    )
