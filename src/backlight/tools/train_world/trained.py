"""The trained model, and the folders of models in a run, as Transformers loads them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backlight.runs.directory import RunDirectory
from backlight.tables import Table
from backlight.world.model import pretrained_files, read_city_model

FINAL = "final"
"""The folder of the trained model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedWorld:
    """A model that was trained on the city world.

    Attributes:
        path: The directory of the run; ``final`` and each ``checkpoint-N`` in it is a folder that
            Transformers can load.
        model: The model, in float32.
        tokenizer: Its tokenizer.
        metrics: How good its answers to held-out questions were as the training went on.
        seconds: How long this took; of a resumed run, since it was resumed.

    Examples:
        What ``train_world`` returns; here made of the shipped model.

        >>> from backlight.world import CITY_MODEL
        >>> from backlight.world.learning.evaluation import answer_greedily
        >>> from backlight.world.model import city_tokenizer
        >>> trained = TrainedWorld(
        ...     path=CITY_MODEL,
        ...     model=read_city_model(CITY_MODEL / FINAL),
        ...     tokenizer=city_tokenizer(),
        ...     metrics=Table(name="metrics", columns={}),
        ...     seconds={},
        ... )
        >>> question = ["dist(c_0865,c_1234)="]
        >>> [answer] = answer_greedily(trained.model, trained.tokenizer, question, max_tokens=6)
        >>> 0 <= int(answer) <= 4025  # in 0.1 degree
        True
    """

    path: Path
    model: Any
    tokenizer: Any
    metrics: Table
    seconds: Mapping[str, float]


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


def load_final(run: RunDirectory) -> Any:
    """Load the model of a finished run.

    Args:
        run: The run.

    Returns:
        The model.

    Raises:
        RunDirectoryError: If a file of it is missing, or is not as the run wrote it.
    """
    for file in run.manifest()["files"]:
        if str(file).startswith(f"{FINAL}/"):
            run.read(str(file))
    return read_city_model(Path(run.path) / FINAL)
