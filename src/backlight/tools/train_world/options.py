"""Options of ``backlight train-world``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from pydantic import Field

from backlight.surveys.driver.options import RunOptions


class TrainWorldConfig(RunOptions):
    """Train a small model on questions about cities, from scratch, in hours on a CPU.

    Each model on the way is a folder that Transformers can load; answers to questions that were
    held out are marked as it goes. What was stopped goes on with --resume.
    """

    tasks: Annotated[tuple[str, ...], Parameter(negative="")] = Field(
        default=("distance",),
        min_length=1,
        description="What is learned, at the same time: distance, trianglearea, angle, compass, "
        "crossing, inside, perimeter, nearest_neighbor, randomwalk, center, circlecount, randring.",
    )
    cities_csv: Path | None = Field(
        default=None, description="Table of cities. [default: the shipped one]"
    )
    num_steps: int = Field(default=10_000, gt=0, description="Steps of the training.")
    rows_per_step: int = Field(
        default=64, gt=0, description="Questions of each task that are drawn for a step."
    )
    questions_per_city: int = Field(
        default=8,
        gt=0,
        description="Questions in a row that share their first city: what they begin with is "
        "computed once.",
    )
    learning_rate: float = Field(
        default=0.01, gt=0, description="Muon's, for the matrices of the layers, at its highest."
    )
    vector_learning_rate: float = Field(
        default=1.5e-3,
        gt=0,
        description="AdamW's, for the embedding, the head, norms and biases, at its highest.",
    )
    warm_up: float = Field(
        default=0.01, ge=0, le=1, description="Share of the steps in which learning rates rise."
    )
    decay: float = Field(
        default=0.5, ge=0, le=1, description="Share of the steps in which they fall to zero."
    )
    first_cities: int = Field(
        default=64, gt=1, description="Cities of the first questions: the first of the table."
    )
    grow_below: float = Field(
        default=1.5,
        description="Cities become more after steps with a running loss below this, in nats.",
    )
    growth: float = Field(
        default=0.01, ge=0, description="By what share of themselves they become more."
    )
    held_out: float = Field(
        default=0.02, gt=0, lt=1, description="Share of all questions that is never learned from."
    )
    num_held_out: int = Field(
        default=500, gt=0, description="Held-out questions of each task whose answers are marked."
    )
    evaluate_every: int = Field(
        default=500, gt=0, description="Steps after which answers are marked."
    )
    checkpoint_every: int = Field(
        default=1000, gt=0, description="Steps after which the model is saved as checkpoint-N."
    )
    hidden_size: int = Field(default=128, gt=0, description="Width of the model.")
    num_layers: int = Field(default=6, gt=0, description="Its decoder layers.")
    num_heads: int = Field(default=4, gt=0, description="Its attention heads.")
    max_positions: int = Field(default=32, gt=0, description="Tokens it can read.")
    init_scale: float = Field(
        default=0.1, gt=0, description="Standard deviation of its weights at first."
    )
    seed: int = Field(default=42, ge=0, description="Fixes the weights at first and the questions.")
    output_dir: Path | None = Field(
        default=Path("runs/world"), description="Where checkpoints and tables go."
    )
