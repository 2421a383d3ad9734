"""What the name of a dataset means: a kind of file, or an id of the hub."""

from backlight.data.given import IN_MEMORY
from backlight.errors import DatasetError, quoted
from backlight.foreign.files import expanded

ENDINGS = (".txt", ".jsonl", ".json", ".csv", ".tsv", ".parquet")
"""How the names of files end that are read."""

_UNPACKED = (".parquet",)


def kind_of(dataset: str) -> str | None:
    """Find by its ending which kind of file a name means.

    Args:
        dataset: The name.

    Returns:
        One of ``ENDINGS``; None if it means none.

    Examples:
        >>> kind_of("chats.jsonl.gz")
        '.jsonl'
    """
    name = dataset.lower()
    for ending in ENDINGS:
        if name.endswith(ending) or (name.endswith(f"{ending}.gz") and ending not in _UNPACKED):
            return ending
    return None


def refuse_memory(dataset: str) -> None:
    """Refuse the name that a config gives to data that were handed over in Python."""
    if dataset == IN_MEMORY:
        raise DatasetError(
            "This is the config of a run whose text was handed over in Python, so the text is not "
            "in any file: call it in Python with the same config and dataset=..."
        )


def refuse_what_is_no_id(dataset: str) -> None:
    """Refuse a name that can be no id of the hub.

    Args:
        dataset: The name, which is not that of a kind of file.

    Raises:
        DatasetError: If it is a file of another kind, a path where nothing is, or no name.
    """
    path = expanded(dataset, error=DatasetError)
    try:
        exists = path.exists()
    except OSError:  # too long for a path
        exists = False
    if dataset.strip() and exists:
        endings = ", ".join(ENDINGS)
        raise DatasetError(
            f"{quoted(dataset)} is no text that backlight reads: its name must end in {endings}, "
            "or, for all but .parquet, in one of these and .gz."
        )
    if not dataset or any(sign.isspace() or not sign.isprintable() for sign in dataset):
        raise DatasetError(
            f"{quoted(dataset)} is neither the name of a dataset nor a path that backlight reads. "
            "In Python, texts are given as a list: dataset=[text]."
        )
    if dataset.startswith(("/", ".", "~")) or dataset.count("/") > 1:
        raise DatasetError(f"There is no file {quoted(dataset)}.")
