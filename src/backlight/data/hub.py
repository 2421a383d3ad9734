"""Rows of datasets from the hub of Hugging Face, or from its local cache."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from backlight.data.rows import Row, field_of
from backlight.errors import DatasetError, quoted
from backlight.foreign.hub import local_only, why_unreachable

_SMALL_PART = 4  # as many times more rows make it worth not to keep them


def read_hub(
    dataset: str,
    subset: str | None,
    *,
    text_column: str,
    split: str,
    num_samples: int | None = None,
) -> Iterator[Row]:
    """Read the texts of a dataset.

    Args:
        dataset: Its id.
        subset: Its configuration, None for the only one.
        text_column: The field that holds the text.
        split: The split.
        num_samples: About how many rows will be read; None if it is not known.

    Yields:
        The rows.

    Raises:
        DatasetError: If it cannot be found or read.
    """
    for record in hub_records(dataset, subset, split=split, num_samples=num_samples):
        yield field_of(record, text_column, quoted(dataset))


def hub_records(
    dataset: str, subset: str | None, *, split: str, num_samples: int | None = None
) -> Iterator[dict[str, Any]]:
    """Read the rows of a dataset, each with all its columns.

    A dataset of which only a small part is asked for, and that is not in the local cache, is
    fetched as far as it is read and not kept; any other is fetched once, and kept in the cache.

    Args:
        dataset: Its id.
        subset: Its configuration, None for the only one.
        split: The split.
        num_samples: About how many rows will be read; None if it is not known.

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

    unreachable = why_unreachable()
    try:
        with local_only(unreachable is not None):
            streams = num_samples is not None and _is_small_part(
                dataset, subset, split, num_samples
            )
            how: dict[str, Any] = {"streaming": True} if streams else {}
            rows = load_dataset(dataset, subset, split=split, **how)
        for row in rows:
            yield dict(row)
    except OSError as error:  # a network that is not there, an id that is not known, a full disk
        reason = unreachable or "It could not be fetched either: check the name and the network."
        raise DatasetError(
            f"The dataset {quoted(dataset)} is not in the local cache. {reason} Or use --dataset "
            "shakespeare (shipped), or the path of a .txt or .jsonl file."
        ) from error
    except (DatasetsError, ValueError, RuntimeError) as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
        reason = first if first.isprintable() else quoted(first)
        raise DatasetError(f"The dataset {quoted(dataset)} cannot be read: {reason}") from error


def _is_small_part(dataset: str, subset: str | None, split: str, num_samples: int) -> bool:
    """Return whether some rows are few beside all of a split that is not in the local cache."""
    from datasets import load_dataset_builder

    builder = load_dataset_builder(dataset, subset)
    if Path(builder.cache_dir).is_dir() or not split.isidentifier():  # a part, such as train[:1%]
        return False
    known = (builder.info.splits or {}).get(split)
    num_rows = None if known is None else known.num_examples
    return not num_rows or num_samples * _SMALL_PART <= num_rows
