"""Options of ``backlight train-world``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from pydantic import Field

from backlight.surveys.driver.options.shared import RunOptions


class TrainWorldConfig(RunOptions):
    """Train a small model on questions about cities, from scratch, in hours on a CPU.

    Each checkpoint is a folder that Transformers can load; the model is evaluated on questions that
    were held out. A run that was stopped continues with --resume.
    """

    tasks: Annotated[tuple[str, ...], Parameter(negative="")] = Field(
        default=("distance",),
        min_length=1,
        description="Tasks that are learned together: distance, trianglearea, angle, compass, "
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
        description="Questions in a row that share their first city, so that their beginning is "
        "computed only once.",
    )
    learning_rate: float = Field(
        default=0.01, gt=0, description="Highest rate of Muon, for the matrices of the layers."
    )
    vector_learning_rate: float = Field(
        default=1.5e-3,
        gt=0,
        description="Highest rate of AdamW, for embedding, head, norms and biases.",
    )
    warm_up: float = Field(
        default=0.01, ge=0, le=1, description="Share of the steps in which learning rates rise."
    )
    decay: float = Field(
        default=0.5, ge=0, le=1, description="Share of the steps in which rates fall to zero."
    )
    first_cities: int = Field(
        default=64, gt=1, description="Cities in the first questions, from the top of the table."
    )
    grow_below: float = Field(
        default=1.5,
        description="The number of cities grows while the running loss is below this, in nats.",
    )
    growth: float = Field(
        default=0.01, ge=0, description="The share by which the number of cities grows."
    )
    held_out: float = Field(
        default=0.02, gt=0, lt=1, description="Share of all questions that is not trained on."
    )
    num_held_out: int = Field(
        default=500, gt=0, description="Held-out questions of each task that are evaluated."
    )
    evaluate_every: int = Field(
        default=500, gt=0, description="Steps after which the model is evaluated."
    )
    checkpoint_every: int = Field(
        default=1000, gt=0, description="Steps after which the model is saved as checkpoint-N."
    )
    hidden_size: int = Field(default=128, gt=0, description="Width of the model.")
    num_layers: int = Field(default=6, gt=0, description="Layers of the model.")
    num_heads: int = Field(default=4, gt=0, description="Attention heads of a layer.")
    max_positions: int = Field(default=32, gt=0, description="Longest sequence it can read.")
    init_scale: float = Field(
        default=0.1, gt=0, description="Standard deviation of the first weights."
    )
    seed: int = Field(
        default=42, ge=0, description="Determines the first weights and the questions."
    )
    output_dir: Path | None = Field(
        default=Path("runs/world"), description="Where checkpoints and tables are written."
    )
