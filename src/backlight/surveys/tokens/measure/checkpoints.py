"""Which model answers the prompts: the shipped one, a checkpoint of a training, or any other."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from backlight.errors import ModelError, nearest, quoted
from backlight.models.subject import Subject
from backlight.surveys.driver.options.shared import SHIPPED
from backlight.surveys.tokens.options import TokensConfig
from backlight.world import CITY_MODEL

_FINAL = "final"
_LEARNED = "distance"
_NOTE = (
    "the shipped city model, which has learned distances only; it does not know the answers of "
    "other tasks, so these are gradients of guesses"
)


def load_answering(config: TokensConfig, load: Callable[[TokensConfig], Subject]) -> Subject:
    """Load the model that a config names.

    Args:
        config: The options.
        load: Loads the model of options that name one or its folder.

    Returns:
        The model; a checkpoint is called by its folder.

    Raises:
        ModelError: If the checkpoint is not there; the message lists those that are.
    """
    if config.experiment_dir is not None and config.model_name != SHIPPED:
        raise ModelError(
            f"--experiment_dir and --model_name {config.model_name} both name a model; give one."
        )
    if config.model_name != SHIPPED:
        if config.checkpoint != _FINAL:
            raise ModelError(
                f"--checkpoint {config.checkpoint} is one of a folder that train-world wrote; "
                f"{config.model_name} has none. Name the folder with --experiment_dir."
            )
        return load(config)
    root = CITY_MODEL if config.experiment_dir is None else _root(config.experiment_dir)
    folder = root / _found(config.checkpoint, root)
    subject = load(config.model_copy(update={"model_name": str(folder)}))
    if config.experiment_dir is None and config.task_type != _LEARNED:
        return replace(subject, facts={**subject.facts, "note": _NOTE})
    return subject


def _root(experiment: Path) -> Path:
    """Find the checkpoints of an experiment, in a folder of their own or not."""
    if not experiment.is_dir():
        raise ModelError(f"There is no folder {quoted(experiment)} (experiment_dir).")
    own = experiment / "checkpoints"
    return own if own.is_dir() else experiment


def _found(checkpoint: str, root: Path) -> str:
    name = f"checkpoint-{checkpoint}" if checkpoint.isdigit() else checkpoint
    there = sorted((path.parent.name for path in root.glob("*/config.json")), key=_order)
    if name in there:
        return name
    if not there:
        raise ModelError(f"There are no checkpoints in {quoted(root)}.")
    raise ModelError(
        f"There is no checkpoint {quoted(name)} in {quoted(root)}; there are {', '.join(there)}. "
        f"{nearest(name, there)}"
    )


def _order(name: str) -> tuple[bool, int, str]:
    """Sort by number, not by letter; the final one is last."""
    number = name.rpartition("-")[2]
    return (name == _FINAL, int(number) if number.isdigit() else 0, name)
