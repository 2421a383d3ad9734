"""Units by their numbers, as JSON."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from backlight.runs.files import json_text
from backlight.runs.results import Results
from backlight.surveys.driver.words.sentences import count
from backlight.tools.export.chosen import Chosen, chosen
from backlight.tools.export.options import ExportConfig
from backlight.tools.export.source import is_comparison
from backlight.tools.export.written import Written


def written(options: ExportConfig, results: Results, path: Path) -> Written:
    """Write the units that are taken.

    Args:
        options: What is asked.
        results: The run or the comparison.
        path: The file.

    Returns:
        The file.
    """
    found = chosen(options, results)
    total = sum(len(each.indices) for each in found)
    return Written(
        files={path: json_text(described(options, results, found)).encode()},
        told=f"{count(total, 'unit')} of {count(len(found), 'layer')}",
    )


def described(options: ExportConfig, results: Results, found: Sequence[Chosen]) -> dict[str, Any]:
    """Describe the units that are taken, as JSON has them.

    Args:
        options: What was asked.
        results: The run or the comparison.
        found: The units.

    Returns:
        What they are of (``a`` and ``b`` of a comparison, ``run`` of a run), ``side``, ``q``, and
        ``layers``: for each ``layer``, ``kind`` and ``statistic`` the ``indices`` of the units and
        what is known of each (``difference`` or ``value`` or ``score``, and ``q``).
    """
    about = results.metadata
    origin: dict[str, Any] = {each: _named(about.get(each)) for each in "ab"}
    if not is_comparison(results):
        names = ("model_name", "dataset", "site", "sae_path")
        origin = {"run": {name: results.config.get(name) for name in names}}
    return {
        **origin,
        "side": options.side,
        "q": options.q,
        "layers": [
            {
                "layer": each.layer,
                "kind": each.kind,
                "statistic": each.statistic,
                "indices": each.indices.tolist(),
                **{name: values.tolist() for name, values in each.numbers.items()},
            }
            for each in found
        ],
    }


def _named(run: Any) -> Any:
    """Say which run it is, without what it says of its model and dictionaries."""
    if not isinstance(run, Mapping):
        return None
    return {name: told for name, told in run.items() if name not in ("model", "dictionaries")}
