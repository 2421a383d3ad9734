"""Carrying ``backlight export`` out."""

from collections.abc import Sequence
from typing import Any

from backlight.errors import ConfigError, RunDirectoryError, quoted
from backlight.foreign.files import expanded
from backlight.foreign.text import plain
from backlight.runs.files import json_text, write_file
from backlight.runs.results import Results, load_results
from backlight.surveys.driver.words.sentences import count
from backlight.surveys.driver.words.terminal import console
from backlight.tools.export.chosen import Chosen, chosen
from backlight.tools.export.options import ExportConfig


def run(options: ExportConfig) -> None:
    """Write the units that a comparison found, and print how many they are.

    Args:
        options: The options of the command.

    Raises:
        ConfigError: If the file is there already.
        RunDirectoryError: If the run is no comparison of dimensions or features.
    """
    path = expanded(options.output, error=RunDirectoryError)
    if path.exists() and not options.overwrite:
        raise ConfigError(f"{quoted(path)} is there already: use --overwrite, or another --output.")
    results = load_results(options.run)
    found = chosen(options, results)
    write_file(path, json_text(indices(options, results, found)).encode())
    total = sum(len(each.indices) for each in found)
    layers = count(len(found), "layer")
    told = f"{count(total, 'unit')} of {layers} written to {plain(path)}"
    console().print(told, soft_wrap=True)


def indices(options: ExportConfig, results: Results, found: Sequence[Chosen]) -> dict[str, Any]:
    """Describe the units that are taken, as JSON has them.

    Args:
        options: What was asked.
        results: The comparison.
        found: The units.

    Returns:
        ``a``, ``b`` (what was compared), ``side``, ``q``, and ``layers``: for each ``layer``,
        ``kind`` and ``statistic`` the ``indices``, ``difference`` and ``q`` of the units.
    """
    return {
        "a": results.metadata.get("a"),
        "b": results.metadata.get("b"),
        "side": options.side,
        "q": options.q,
        "layers": [
            {
                "layer": each.layer,
                "kind": each.kind,
                "statistic": each.statistic,
                "indices": each.indices.tolist(),
                "difference": each.difference.tolist(),
                "q": each.q.tolist(),
            }
            for each in found
        ],
    }
