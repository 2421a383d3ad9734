"""What Transformers, tokenizers and safetensors raise, told in one sentence."""

from collections.abc import Generator
from contextlib import contextmanager
from types import TracebackType
from typing import final

from transformers.utils import logging as transformers_logging

from backlight.errors import BacklightError, ModelError, beginning

_LONGEST = 200  # characters of a foreign message
_BUGS = (AssertionError, AttributeError, NameError)  # in a line of ours; compiled code has others


@final
class telling:  # noqa: N801 - read as a verb: with telling(...)
    """Lets the libraries work quietly, and turns whatever they raise into one sentence.

    A model's files decide which line of foreign code stumbles and over what, and the readers of
    tokenizers raise ``Exception`` itself; so what counts is not the kind of an error but where it
    was raised. An error of ours passes, and so does a bug in a line of ours.
    """

    def __init__(self, what: str, *, unfetched: str | None = None) -> None:
        """Keep how sentences begin.

        Args:
            what: Such as ``my-model cannot be loaded``.
            unfetched: The whole sentence for a failure of the system (no such file, no network)
                where the model does not lie in a folder; None where it does.
        """
        self._what = what
        self._unfetched = unfetched
        self._quiet = _quiet()

    def __enter__(self) -> None:
        self._quiet.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._quiet.__exit__(None, None, None)
        if not isinstance(error, Exception) or isinstance(error, BacklightError):
            return
        if isinstance(error, _BUGS) and _is_in_our_line(traceback):
            return
        if isinstance(error, OSError) and self._unfetched is not None:
            raise ModelError(self._unfetched) from error
        raise ModelError(f"{self._what}: {_reason(error)}") from error


@contextmanager
def _quiet() -> Generator[None, None, None]:
    """Keep Transformers quiet while the context lasts."""
    verbosity = transformers_logging.get_verbosity()
    had_bar = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if had_bar:
            transformers_logging.enable_progress_bar()


def _is_in_our_line(traceback: TracebackType | None) -> bool:
    """Find out whether a line of backlight raised an error, or compiled code that it called."""
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    where = "" if traceback is None else str(traceback.tb_frame.f_globals.get("__name__"))
    return where.partition(".")[0] == "backlight"


def _reason(error: Exception) -> str:
    """Return the message of an error as one short line without control codes."""
    words = "".join(sign if sign.isprintable() else " " for sign in str(error)[: 4 * _LONGEST])
    text = beginning(" ".join(words.split()), _LONGEST)
    if isinstance(error, KeyError):
        return f"Transformers does not know {text}, or it is missing"
    # The name of a class of errors helps only where the message was meant for a programmer.
    is_told = isinstance(error, (OSError, ValueError, ImportError, RuntimeError))
    is_bare = type(error) is Exception or type(error).__module__ != "builtins"
    return text if text and (is_told or is_bare) else f"{type(error).__name__}: {text}".rstrip(": ")
