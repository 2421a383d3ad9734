"""Rows of datasets from the hub of Hugging Face, or from its local cache."""

import importlib.util
from collections.abc import Iterator
from typing import Any

from backlight.data.rows import Row, field_of
from backlight.errors import DatasetError, quoted


def read_hub(dataset: str, subset: str | None, *, text_column: str, split: str) -> Iterator[Row]:
    """Read the texts of a dataset.

    Args:
        dataset: Its id.
        subset: Its configuration, None for the only one.
        text_column: The field that holds the text.
        split: The split.

    Yields:
        The rows.

    Raises:
        DatasetError: If it cannot be found or read.
    """
    for record in hub_records(dataset, subset, split=split):
        yield field_of(record, text_column, quoted(dataset))


def hub_records(dataset: str, subset: str | None, *, split: str) -> Iterator[dict[str, Any]]:
    """Read the rows of a dataset, each with all its columns.

    Args:
        dataset: Its id.
        subset: Its configuration, None for the only one.
        split: The split.

    Yields:
        The rows.

    Raises:
        DatasetError: If it cannot be found or read.
    """
    if importlib.util.find_spec("datasets") is None:
        raise DatasetError(
            f"The dataset {quoted(dataset)} comes from the hub, which needs another package: pip "
            "install 'backlight[data]'. Without: --dataset shakespeare, or the path of a text file."
        )
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    try:
        rows = load_dataset(dataset, subset, split=split)
        for row in rows:
            yield dict(row)
    except OSError as error:  # a network that is not there, an id that is not known, a full disk
        raise DatasetError(
            f"The dataset {quoted(dataset)} is neither in the local cache nor could it be fetched "
            "from the hub. Check the name and the network, or use --dataset shakespeare (shipped), "
            "or the path of a .txt or .jsonl file."
        ) from error
    except (DatasetsError, ValueError, RuntimeError) as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
        reason = first if first.isprintable() else quoted(first)
        raise DatasetError(f"The dataset {quoted(dataset)} cannot be read: {reason}") from error
