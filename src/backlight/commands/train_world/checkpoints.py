"""The models of a run: one folder each, as Transformers loads them."""

from typing import Any

from backlight.models.loading.city import pretrained_files
from backlight.runs.directory import RunDirectory

__all__ = ["FINAL", "checkpoint_name", "keep_files", "save_model"]

FINAL = "final"
"""The folder of the trained model."""


def checkpoint_name(step: int) -> str:
    """Name the folder of the model as it is after some steps."""
    return f"checkpoint-{step}"


def save_model(run: RunDirectory, name: str, model: Any, tokenizer: Any) -> None:
    """Write a model and its tokenizer, file by file, each whole or not at all.

    Args:
        run: The run.
        name: The folder.
        model: A model of Transformers.
        tokenizer: Its tokenizer.
    """
    for file, content in pretrained_files(model, tokenizer).items():
        run.write_bytes(f"{name}/{file}", content)


def keep_files(run: RunDirectory, name: str) -> None:
    """Let a resumed run know of a folder that was written before it was stopped.

    Args:
        run: The run.
        name: The folder.
    """
    for file in sorted((run.path / name).iterdir()):
        run.write_bytes(f"{name}/{file.name}", file.read_bytes())
