"""All tables of a run, as Parquet files."""

import importlib
import importlib.util
import io
from pathlib import Path
from typing import Any

from backlight.errors import RunDirectoryError, UsageError, quoted
from backlight.runs.results import Results
from backlight.surveys.driver.words.sentences import count
from backlight.tables import Table
from backlight.tools.export.options import ExportConfig
from backlight.tools.export.written import Written


def written(options: ExportConfig, results: Results, path: Path) -> Written:
    """Write every table of a run with all its columns.

    Args:
        options: What is asked.
        results: The run or the comparison, of any command.
        path: The folder.

    Returns:
        ``{table}.parquet`` for each table; units are in the metadata of the columns.

    Raises:
        RunDirectoryError: If there are no tables.
        UsageError: If pyarrow is not installed.
    """
    del options
    if importlib.util.find_spec("pyarrow") is None:
        raise UsageError("Parquet is written with pyarrow: pip install 'backlight[data]'")
    if not results.tables:
        raise RunDirectoryError(f"{quoted(results.path)} has no tables.")
    return Written(
        files={path / f"{name}.parquet": _content(table) for name, table in results.tables.items()},
        told=f"{count(len(results.tables), 'table')}",
    )


def _content(table: Table) -> bytes:
    arrow: Any = importlib.import_module("pyarrow")
    parquet: Any = importlib.import_module("pyarrow.parquet")
    fields, arrays = [], []
    for name, column in table.items():
        values = arrow.array(column.tolist() if column.dtype.kind in "UO" else column)
        unit = {"unit": table.units[name]} if name in table.units else None
        fields.append(arrow.field(name, values.type, metadata=unit))
        arrays.append(values)
    buffer = io.BytesIO()
    parquet.write_table(arrow.Table.from_arrays(arrays, schema=arrow.schema(fields)), buffer)
    return buffer.getvalue()
