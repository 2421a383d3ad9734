"""Which tool wrote a log, by what only its logs have, as ``tools.csv`` says.

All marks in a row must be there: names of quantities, what the file is called, and a regular
expression for one of the first lines that count. The first row that fits names the tool.
"""

import csv
import re
from collections.abc import Collection
from pathlib import Path

with Path(__file__).with_name("tools.csv").open(encoding="utf-8", newline="") as _file:
    _TOOLS = list(csv.DictReader(_file, delimiter=";", quoting=csv.QUOTE_NONE))


def format_of(file: str, keys: Collection[str], sample: str) -> str | None:
    """Return the name of the tool that wrote a log.

    Args:
        file: What the file is called.
        keys: All names of its quantities.
        sample: The first lines that count; empty if the log has no lines.

    Returns:
        The tool, None if it is not known.
    """
    names = set(keys)
    for each in _TOOLS:
        fits = each["file"] in ("", file) and names.issuperset(each["names"].split())
        if fits and re.search(each["line"], sample, re.IGNORECASE):  # an empty one is anywhere
            return each["tool"]
    return None
