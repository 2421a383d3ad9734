"""What Transformers, tokenizers and safetensors raise, told in one sentence."""

from collections.abc import Generator
from contextlib import contextmanager

from transformers.utils import logging as transformers_logging

from backlight.errors import BacklightError, ModelError

__all__ = ["telling"]

_LONGEST = 200  # characters of a foreign message


@contextmanager
def telling(what: str, *, unfetched: str | None = None) -> Generator[None, None, None]:
    """Let the libraries work quietly, and turn whatever they raise into one sentence.

    Args:
        what: How the sentence begins, such as ``my-model cannot be loaded``.
        unfetched: The whole sentence for a failure of the system (no such file, no network) where
            the model does not lie in a folder; None where it does.

    Yields:
        Nothing; Transformers talks as before at the end, also if the body fails.

    Raises:
        ModelError: If the body raises anything but an error of ours.
    """
    verbosity = transformers_logging.get_verbosity()
    had_bar = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    except BacklightError:
        raise
    # Broad because a model's files decide which line of foreign code stumbles, and because the
    # readers of tokenizers raise Exception itself. The cause stays for --debug.
    except Exception as error:
        if isinstance(error, OSError) and unfetched is not None:
            raise ModelError(unfetched) from error
        raise ModelError(f"{what}: {_reason(error)}") from error
    finally:
        transformers_logging.set_verbosity(verbosity)
        if had_bar:
            transformers_logging.enable_progress_bar()


def _reason(error: Exception) -> str:
    """Give the message of an error as one short line without control codes."""
    words = "".join(sign if sign.isprintable() else " " for sign in str(error)[: 4 * _LONGEST])
    text = " ".join(words.split())
    if len(text) > _LONGEST:
        text = text[: _LONGEST - 1] + "…"
    if isinstance(error, KeyError):
        return f"Transformers does not know {text}, or it is missing"
    # The name of a class of errors helps only where the message was meant for a programmer.
    is_told = isinstance(error, (OSError, ValueError, ImportError, RuntimeError))
    is_bare = type(error) is Exception or type(error).__module__ != "builtins"
    return text if text and (is_told or is_bare) else f"{type(error).__name__}: {text}".rstrip(": ")
