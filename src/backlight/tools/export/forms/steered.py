"""Features as the CSV that lm-eval's ``--model steered`` reads."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from backlight.errors import ConfigError, quoted
from backlight.foreign.cells import protected
from backlight.runs.results import Results
from backlight.surveys.driver.words.sentences import count
from backlight.tools.export.chosen import Chosen, chosen
from backlight.tools.export.forms.steering import Place, place_of
from backlight.tools.export.options import ExportConfig
from backlight.tools.export.written import Written

COLUMNS = (
    *("loader", "action", "sparse_model", "hookpoint", "feature_index", "steering_coefficient"),
    *("head_index", "sae_id", "description"),
)
"""The columns, as lm-eval names them."""

_ONE = (
    "lm-eval steers with one feature of each module, the last row of it; that is the first of the "
    "list, since rows of a layer are written from the last to the first."
)


def written(options: ExportConfig, results: Results, path: Path) -> Written:
    """Write a row for each feature.

    Args:
        options: What is asked.
        results: The run or the comparison.
        path: The file; lm-eval wants ``.csv``.

    Returns:
        The file.

    Raises:
        ConfigError: If these are no features, the file is no ``.csv``, or nobody knows how lm-eval
            is to find dictionary or module.
    """
    if path.suffix != ".csv":
        raise ConfigError(
            "lm-eval knows such a file by its name: --output must end in .csv, and it is "
            f"{quoted(path.name)}."
        )
    found = chosen(options.model_copy(update={"top": options.top or 1}), results)
    rows = [row for each in found for row in _rows(options, results, each)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    several = any(len(each.indices) > 1 for each in found)
    return Written(
        files={path: text.getvalue().encode()},
        told=f"{count(len(rows), 'feature')} of {count(len(found), 'layer')}",
        notes=(_ONE,) if several else (),
    )


def _rows(options: ExportConfig, results: Results, each: Chosen) -> Iterator[list[str]]:
    """Write the features of a layer, the first one last: lm-eval keeps the last of a module."""
    if each.kind != "feature":
        raise ConfigError(
            "lm-eval steers with features of dictionaries: take a run of `backlight sae`, or a "
            "comparison of such runs."
        )
    if not len(each.indices):
        return
    place: Place = place_of(options, results, each.layer)
    for rank in reversed(range(len(each.indices))):
        yield [
            place.loader,
            options.action,
            _safe(place.sparse_model),
            _safe(place.hookpoint),
            str(each.indices[rank]),
            repr(options.coefficient),
            "",
            _safe(place.sae_id),
            protected(each.told(rank)),
        ]


def _safe(text: str) -> str:
    """Refuse a name that a spreadsheet would take for a formula: changed it would name nothing."""
    if protected(text) != text:
        raise ConfigError(
            f"{quoted(text)} cannot stand in a CSV file: a spreadsheet would take it for a "
            "formula, or it has letters that cannot be seen."
        )
    return text
