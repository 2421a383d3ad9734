"""Whether the hub of Hugging Face answers, asked before its client waits for it.

Where there is no network, the client asks for each file six times, and waits for 23 s in between.
"""

import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from threading import Thread
from typing import Any

from backlight.errors import beginning
from backlight.foreign.failures import network_failures
from backlight.foreign.text import plain

_NUM_TRIES, _PAUSE = 2, 1.0  # seconds; names are not found for a moment now and then
_SETTINGS = ("huggingface_hub.constants", "datasets.config")
_LONGEST = 200  # letters of what a library says


def why_unreachable() -> str | None:
    """Ask the hub for a sign of life.

    Returns:
        Why it gives none, as a sentence. None if it answers, whatever that is, within the time
        that its client waits for an answer: ``HF_HUB_ETAG_TIMEOUT``, by default 10 s.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "The hub is not asked, as HF_HUB_OFFLINE is set."
    hub, limit = constants.ENDPOINT, constants.HF_HUB_ETAG_TIMEOUT
    told: list[str | None] = []
    # A name can stand for many addresses, each of which is waited for, so the limit is kept here.
    asking = Thread(target=lambda: told.append(_failure(hub, limit)), daemon=True)
    asking.start()
    asking.join(limit)
    failure = told[0] if told else f"no answer within {limit:g} s (HF_HUB_ETAG_TIMEOUT)"
    if failure is None:
        return None
    return (
        f"The hub ({hub}) cannot be reached: {failure}. Without a network, "
        "HF_HUB_OFFLINE=1 saves asking."
    )


@contextmanager
def local_only(is_so: bool) -> Generator[None, None, None]:
    """Have libraries that are loaded look at the local cache alone, as ``HF_HUB_OFFLINE`` does.

    Args:
        is_so: Whether they are to; else all stays as it is.
    """
    found: list[Any] = [sys.modules[name] for name in _SETTINGS if is_so and name in sys.modules]
    before = [module.HF_HUB_OFFLINE for module in found]
    for module in found:
        module.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        for module, value in zip(found, before, strict=True):
            module.HF_HUB_OFFLINE = value


def _failure(hub: str, limit: float) -> str | None:
    from huggingface_hub.utils import get_session

    failure = None
    for number in range(_NUM_TRIES):
        time.sleep(_PAUSE * (number > 0))
        try:
            get_session().head(hub, timeout=limit)
        except (OSError, *network_failures()) as error:
            said = " ".join(plain(error).split()).rstrip(".")
            failure = beginning(said, _LONGEST) or type(error).__name__
        else:
            return None
    return failure
