"""backlight lights a transformer from behind: it shows where the gradient of its loss flows.

The names below are loaded when they are first used; importing this package loads nothing.
"""

import random
from typing import Any

import lazy_loader

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    # Loading draws random numbers (rich does), perhaps in the middle of a training.
    before = random.getstate()
    try:
        return _load(name)
    finally:
        random.setstate(before)
