"""The files of a trained dictionary: two formats, a card, and how it was learned."""

import json
import os
import shutil
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from backlight.commands.train_sae.card import card_of, command_of
from backlight.commands.train_sae.trained import TrainedDictionary
from backlight.config import TrainSaeConfig
from backlight.dictionaries.activations import Threshold
from backlight.dictionaries.dictionary import Dictionary, LinearEncoder
from backlight.dictionaries.formats import dictionary_learning, saelens
from backlight.errors import RunDirectoryError, StorageError
from backlight.models.subject import Subject

__all__ = ["refuse_occupied", "rounded", "write_trained"]

_CARD, _TRAINING, _CURVE = "README.md", "training.json", "curve.csv"


def refuse_occupied(path: Path, *, replacing: bool) -> None:
    """Refuse a place for a new dictionary if something is there that may not be deleted.

    Args:
        path: The place.
        replacing: A dictionary that was trained there before may be deleted.

    Raises:
        RunDirectoryError: If there is a file, another dictionary, or files of somebody else.
    """
    if path.exists() and not path.is_dir():
        raise RunDirectoryError(f"{str(path)!r} is a file, not a directory for a dictionary.")
    there = {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}
    foreign = sorted(there - _own_files(path))
    if foreign:
        raise RunDirectoryError(
            f"{str(path)!r} holds files that were not written by train-sae, such as "
            f"{foreign[0]!r}; name another --output_dir."
        )
    if there and not replacing:
        raise RunDirectoryError(
            f"{str(path)!r} already holds a dictionary. Give --overwrite to replace it, or another "
            "--output_dir."
        )


def rounded(dictionary: Dictionary, dtype: torch.dtype) -> Dictionary:
    """Round a dictionary as a file in another number format would.

    Args:
        dictionary: Its encoder is linear, with a threshold.
        dtype: The number format.

    Returns:
        The dictionary, again in the format it had, with the numbers that the file will hold.
    """
    encoder = dictionary.encoder
    assert isinstance(encoder, LinearEncoder)
    assert isinstance(encoder.activation, Threshold)

    def shortened(tensor: Tensor) -> Tensor:
        return tensor.to(dtype).to(tensor.dtype)

    bias = shortened(dictionary.bias)
    return replace(
        dictionary,
        encoder=LinearEncoder(
            rows=shortened(encoder.rows),
            bias=shortened(encoder.bias),
            input_bias=bias,
            activation=Threshold(threshold=shortened(encoder.activation.threshold)),
        ),
        rows=shortened(dictionary.rows),
        bias=bias,
    )


def write_trained(trained: TrainedDictionary, config: TrainSaeConfig, subject: Subject) -> None:
    """Write a dictionary to its directory, which appears when it is complete.

    Args:
        trained: What to write.
        config: The options it was trained with.
        subject: The model it was trained for.

    Raises:
        StorageError: If it cannot be written; what was there before is still there.
    """
    path = trained.path
    scratch = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        _write_all(scratch, trained, config, subject)
        _put(scratch, path)
    except OSError as error:
        raise StorageError(f"{str(path)!r} cannot be written: {error.strerror}.") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _write_all(
    folder: Path, trained: TrainedDictionary, config: TrainSaeConfig, subject: Subject
) -> None:
    dtype: torch.dtype = getattr(torch, config.save_dtype)
    notes = {
        "trained_by": f"backlight {version('backlight')}: {command_of(config)}",
        "explained_variance": round(trained.quality.explained_variance, 4),
        "l0": round(trained.quality.l0, 2),
    }
    saelens.write(
        trained.dictionary,
        folder / "saelens" / f"layer_{trained.layer}",
        model_name=subject.name,
        hook_name=trained.site.transformer_lens or trained.site.name,
        hf_hook_name=trained.site.transformers,
        notes=notes,
        dtype=dtype,
    )
    dictionary_learning.write(
        trained.dictionary,
        folder / "dictionary_learning" / trained.label,
        model_name=subject.name,
        layer=trained.layer,
        submodule_name=trained.label,
        k=config.k,
        notes=notes,
        dtype=dtype,
    )
    (folder / _CARD).write_text(card_of(trained, config, subject), encoding="utf-8")
    (folder / _CURVE).write_text(trained.curve.to_csv(), encoding="utf-8")
    files = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
    story = {**_story(trained, config), "files": [*files, _TRAINING]}
    text = json.dumps(story, indent=2, default=str)
    (folder / _TRAINING).write_text(text + "\n", encoding="utf-8")


def _story(trained: TrainedDictionary, config: TrainSaeConfig) -> dict[str, Any]:
    return {
        "command": command_of(config),
        "options": config.model_dump(mode="json", exclude={"output_dir", "overwrite"}),
        "site": trained.site.name,
        **trained.origin,
        "quality": asdict(trained.quality),
        "loss": {**asdict(trained.recovery), "recovered": trained.recovery.share},
        "seconds": dict(trained.seconds),
    }


def _put(scratch: Path, path: Path) -> None:
    """Let a directory appear under its name, in place of an older one if there is one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    old = scratch.with_suffix(".old")
    if path.is_dir():
        path.rename(old)
    try:
        scratch.rename(path)
    except OSError:
        if old.is_dir():
            old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _own_files(path: Path) -> set[str]:
    """List the files of a dictionary that was trained at a place; none if there is none."""
    try:
        told = json.loads((path / _TRAINING).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return set()
    files = told.get("files") if isinstance(told, dict) else None
    return set(map(str, files)) if isinstance(files, list) else set()
