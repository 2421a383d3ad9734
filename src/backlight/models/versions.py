"""Which versions of torch and Transformers are installed, and what the oldest are that will do."""

import re
from functools import cache
from importlib import metadata

from backlight.errors import ModelError

LOWEST = {"torch": "2.4", "transformers": "4.50"}
"""What pyproject.toml asks for: the oldest that are tested."""

version = cache(metadata.version)  # it reads a file, and every pass that taps attention asks


def is_at_least(lowest: str, package: str = "transformers") -> bool:
    """Return whether the installed version of a package is the given one or a later one.

    Args:
        lowest: A version of two numbers, such as ``4.57``.
        package: The package.

    Returns:
        Whether it is.
    """
    return _numbers(version(package)) >= _numbers(lowest)


def _numbers(written: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", written)[:2]))


def require(lowest: str, asked: str, package: str = "transformers") -> None:
    """Refuse what the installed version of a package is too old for.

    Args:
        lowest: The first version that will do, such as ``5.4``.
        asked: What was asked for, as a user wrote it.
        package: The package.

    Raises:
        ModelError: If the installed version is an older one.
    """
    if not is_at_least(lowest, package):
        raise ModelError(
            f"{asked} needs {package} {lowest} or later, and {version(package)} is installed: "
            f"pip install '{package}>={lowest}'."
        )
