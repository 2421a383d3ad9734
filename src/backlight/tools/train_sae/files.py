"""The files of a trained dictionary: two formats, a card, and how it was learned."""

import json
import shutil
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from backlight.dictionaries.formats import dictionary_learning, saelens
from backlight.errors import StorageError, quoted
from backlight.models.subject import Subject
from backlight.runs.files import digest_of, write_file
from backlight.runs.lock import lock
from backlight.tools.train_sae.card import card_of, command_of
from backlight.tools.train_sae.options import TrainSaeConfig
from backlight.tools.train_sae.place import TRAINING, put, scratch_of
from backlight.tools.train_sae.trained import TrainedDictionary

_CARD, _CURVE = "README.md", "curve.csv"


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
    scratch = scratch_of(path)
    try:
        scratch.mkdir(parents=True)
        held = lock(scratch)
        _write_all(scratch, trained, config, subject)
        put(scratch, path, replacing=config.overwrite)
        del held
    except OSError as error:
        raise StorageError(f"{quoted(path)} cannot be written: {error.strerror}.") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _write_all(
    folder: Path, trained: TrainedDictionary, config: TrainSaeConfig, subject: Subject
) -> None:
    notes = {
        "trained_by": f"backlight {version('backlight')}: {command_of(config)}",
        "explained_variance": round(trained.quality.explained_variance, 4),
        "l0": round(trained.quality.l0, 2),
    }
    both: dict[str, Any] = {
        "model_name": subject.name,
        "notes": notes,
        "dtype": getattr(torch, config.save_dtype),
    }
    saelens.write(
        trained.dictionary,
        folder / "saelens" / f"layer_{trained.layer}",
        hook_name=trained.site.transformer_lens or trained.site.name,
        hf_hook_name=trained.site.transformers,
        **both,
    )
    dictionary_learning.write(
        trained.dictionary,
        folder / "dictionary_learning" / trained.label,
        layer=trained.layer,
        submodule_name=trained.label,
        k=config.k,
        **both,
    )
    write_file(folder / _CARD, card_of(trained, config, subject).encode())
    write_file(folder / _CURVE, trained.curve.to_csv().encode())
    files = sorted(file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    digests = {file.as_posix(): digest_of((folder / file).read_bytes()) for file in files}
    listed = {"files": [*digests, TRAINING], "sha256": digests}
    text = json.dumps({**_story(trained, config), **listed}, indent=2, default=str)
    write_file(folder / TRAINING, f"{text}\n".encode())


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
