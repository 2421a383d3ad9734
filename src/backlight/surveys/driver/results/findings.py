"""What the tables door of a survey hands back, and the results that a caller gets of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from backlight.runs.directory import RunDirectory
from backlight.runs.results import Presentation, Results
from backlight.surveys.driver.options.reading import same_numbers
from backlight.tables import Table

Arrays = Mapping[str, NDArray[Any]]

GROUPS = "passage_groups/"
"""The folder of sums over groups of passages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a measurement found.

    Attributes:
        tables: Its tables, each written as ``tables/{name}.csv``.
        data: Its arrays, all of them in one archive.
        statistics: Arrays of a second archive; none, no archive.
        metadata: What a reader of the numbers must know.
        described: What ``metadata.json`` says besides that, before it.
        brief: What the archive of arrays says about itself.
        files: What else is written, by the names of the files, which say what they hold: one array
            (.npy), arrays by name (.npz), or a mapping (.json).
        archived: The names of the arrays in the archive; None for all of ``data``.
    """

    tables: Sequence[Table]
    data: Arrays
    statistics: Arrays = field(default_factory=dict[str, NDArray[Any]])
    metadata: Mapping[str, Any]
    described: Mapping[str, Any] = field(default_factory=dict[str, Any])
    brief: Mapping[str, Any] = field(default_factory=dict[str, Any])
    files: Mapping[str, Any] = field(default_factory=dict[str, Any])
    archived: Sequence[str] | None = None


def groups_file(of: int | str) -> str:
    """Name the file of a layer's or a table's sums over groups of passages for comparisons."""
    return f"{GROUPS}{of if isinstance(of, str) else f'layer_{of}'}.npz"


def results_of(
    options: Any,
    findings: Findings,
    directory: RunDirectory | None,
    presentation: Presentation,
    material: Mapping[str, Any],
) -> Results:
    """Return findings as the results that a caller gets.

    Args:
        options: The options of the run.
        findings: What was found.
        directory: Where it is written, None for nowhere.
        presentation: How they are shown.
        material: Where the numbers come from, such as the model and the text.

    Returns:
        The results.
    """
    return Results(
        path=None if directory is None else directory.path,
        data=findings.data,
        statistics=findings.statistics,
        metadata=findings.metadata,
        tables={table.name: table for table in findings.tables},
        config=same_numbers(options) if directory is None else directory.config(),
        material=material,
        groups={name: each for name, each in findings.files.items() if name.startswith(GROUPS)},
        presentation=presentation,
    )
