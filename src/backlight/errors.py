"""Every error that backlight raises on purpose, in one tree.

BacklightError
+-- UsageError               a user's mistake: exit status 2, nothing was written
|   +-- ConfigError          options that do not exist, or do not fit together
|   +-- UnknownLayerError    layers beyond the model, or not written as layers
|   +-- UnknownSiteError     a site that the model does not have
|   +-- UnsupportedSiteError a site that exists but cannot be tapped in this way
|   +-- ModelError           a model that cannot be found, or is not a causal language model
|   +-- DatasetError         text that cannot be found, or holds nothing to read
|   +-- DictionaryError      a dictionary that cannot be found or read, or does not fit the model
|   +-- CityError            cities that cannot be read, or a selection of them that does not fit
|   +-- TaskError            a task that does not exist, or cannot be asked of some cities
|   +-- PromptError          a template, field, answer or position that is not there or does not fit
|   +-- RunDirectoryError    a directory that exists, or is not a run, or is another run
|   +-- DeviceError          a device that is not there
|   +-- StateError           a saved state of a statistic that is not of its form
+-- RunError                 a failure of the run: exit status 1, what was done so far is kept
    +-- NonFiniteError       NaN or infinity in the loss or in a gradient
    +-- StorageError         the disk is full, or the directory cannot be written
    +-- WorkerError          workers that die again and again
    +-- FamilyProofError     a table of architectures that does not hold for this model
    +-- SilentSiteError      a site through which no gradient came back
"""

import reprlib
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import PurePath

_LONGEST = 200  # characters of a foreign value in a message
_BRIEF = reprlib.Repr()
_BRIEF.maxlevel, _BRIEF.maxlist, _BRIEF.maxtuple, _BRIEF.maxset, _BRIEF.maxdict = 3, 8, 8, 8, 8
_BRIEF.maxstring = _BRIEF.maxother = _LONGEST


def nearest(name: str, known: Sequence[str], *, otherwise: str = "") -> str:
    """Suggest which known names are close to a name that was not found.

    Args:
        name: What was asked for.
        known: What there is.
        otherwise: What to return if nothing is close.

    Returns:
        ``"Did you mean a or b?"``, or ``otherwise``.
    """
    close = get_close_matches(name, known, n=3) if len(name) <= _LONGEST else []
    return f"Did you mean {' or '.join(close)}?" if close else otherwise


def quoted(value: object) -> str:
    """Quote a foreign value in a message: as Python writes it, with at most 200 characters.

    Args:
        value: Text, a path, a number, or lists and mappings of such; of any size.

    Returns:
        The quotation, without control codes. The middle of what is too long is left out, and a
        large value is not walked through.
    """
    if isinstance(value, (PurePath, str)):  # numpy has texts that write themselves otherwise
        value = str(value)
    if isinstance(value, str):
        cut = value if len(value) <= 2 * _LONGEST else value[:_LONGEST] + value[-_LONGEST:]
        told = repr(str(cut))  # numpy's text says its type too
    elif isinstance(value, int) and value.bit_length() > 4 * _LONGEST:
        told = f"a number of about {value.bit_length() * 3 // 10} digits"
    else:
        told = repr(value) if value is None or isinstance(value, (int, float)) else _brief(value)
    return shorten(told, _LONGEST)


def listed(names: Iterable[object], *, most: int = 10) -> str:
    """Quote the first few of some names, and say how many more there are; empty if none."""
    names = list(names)
    told = ", ".join(beginning(quoted(name), _LONGEST // 4) for name in names[:most])
    return f"{told} and {len(names) - most:,} more" if len(names) > most else told


def beginning(text: str, most: int) -> str:
    """Cut off the end of a text that is too long.

    Args:
        text: The text.
        most: How many letters it may have.

    Returns:
        The text, or its beginning.
    """
    return text if len(text) <= most else f"{text[: most - 1]}…"


def shorten(text: str, most: int) -> str:
    """Cut the middle out of a text that is too long.

    Args:
        text: The text.
        most: How many letters it may have.

    Returns:
        The text, or its beginning and its end.
    """
    if len(text) <= most:
        return text
    end = (most - 1) // 2
    return f"{text[: most - end - 1]}…{text[len(text) - end :]}"


def _brief(value: object) -> str:
    try:
        return _BRIEF.repr(value)
    except ValueError:  # a whole number inside is too long for Python to write out
        return f"a {type(value).__name__} with a number of very many digits"


class BacklightError(Exception):
    """Something that backlight can explain; the message says what to do."""

    exit_status = 1


class UsageError(BacklightError):
    """The user asked for something that cannot be done; nothing was written."""

    exit_status = 2


class RunError(BacklightError):
    """The run failed on its way; what was done so far is kept."""


class ConfigError(UsageError):
    """Options that do not exist, have no such value, or do not fit together."""


class UnknownLayerError(UsageError):
    """Layers were named that the model does not have, or that are no layers."""


class UnknownSiteError(UsageError):
    """A site was named that the model does not have.

    Args:
        name: What was asked for.
        known: The names that it could have been.
        reason: A sentence that says why there is none of that name; empty if the name may only be
            misspelt.
    """

    def __init__(self, name: str, known: Sequence[str], *, reason: str = "") -> None:
        hint = reason or nearest(name, known, otherwise="See backlight sites MODEL.")
        super().__init__(f"This model has no site {quoted(name)} among its {len(known)}. {hint}")
        self.name = name


class UnsupportedSiteError(UsageError):
    """A site exists, but what was asked of it cannot be done."""


class ModelError(UsageError):
    """A model cannot be found or read, or is not a causal language model."""


class DatasetError(UsageError):
    """Text cannot be found or read, or holds no row to measure on."""


class DictionaryError(UsageError):
    """A sparse dictionary cannot be found or read, or does not fit the model."""


class CityError(UsageError):
    """Cities that cannot be read, or a selection of them that does not fit."""


class TaskError(UsageError):
    """A task that does not exist, or that cannot be asked of some cities."""


class PromptError(UsageError):
    """A template, field, answer or position that does not exist or does not fit."""


class RunDirectoryError(UsageError):
    """A directory already exists, is not a run, or belongs to another run."""


class DeviceError(UsageError):
    """A device or a number format was asked for that is not there."""


class StateError(UsageError):
    """A saved state lacks something, or holds what no statistic can have seen."""


class NonFiniteError(RunError):
    """A loss or a gradient is NaN or infinite."""


class StorageError(RunError):
    """The disk is full, or a file cannot be written."""


class WorkerError(RunError):
    """Processes that measured for a run died again and again."""


class FamilyProofError(RunError):
    """What the table of architectures says does not hold for this model."""


class SilentSiteError(RunError):
    """No gradient came back through a site that was asked for."""
