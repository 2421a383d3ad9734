"""What ``backlight train-world`` prints: a line at each examination, and what it made."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from backlight.surveys.driver.words.places import short
from backlight.surveys.driver.words.terminal import console
from backlight.tools.train_world.card import mark_of
from backlight.tools.train_world.trained import FINAL, TrainedWorld


def print_examination(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print how good the answers are now.

    Args:
        rows: The newest rows of the metrics.
    """
    for row in rows:
        loss = "untrained " if math.isnan(row["loss"]) else f"loss {row['loss']:.3f}"
        console().print(
            f"step {row['step']:>6}  {row['num_rows']:>9,} rows  {row['num_cities']:>5} cities  "
            f"{loss}  {row['task']}, {mark_of(row['task'])}: median {row['median']:.4g}, "
            f"mean {row['mean']:.4g}, exact {100 * row['exact']:.1f} %  (always the same answer: "
            f"{row['constant_median']:.4g}, {row['constant_mean']:.4g})",
            soft_wrap=True,
        )


def print_trained(trained: TrainedWorld) -> None:
    """Print where the model is.

    Args:
        trained: The model.
    """
    lines = [
        "",
        f"Model     {short(trained.path / FINAL)}",
        f"Metrics   {short(trained.path / 'tables' / 'metrics.csv')}",
        f"Card      {short(trained.path / 'README.md')}",
    ]
    console().print("\n".join(lines), soft_wrap=True)
