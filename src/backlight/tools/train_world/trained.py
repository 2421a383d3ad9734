"""What ``backlight train-world`` gives."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backlight.tables import Table


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
    """

    path: Path
    model: Any
    tokenizer: Any
    metrics: Table
    seconds: Mapping[str, float]
