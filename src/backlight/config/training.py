"""Options of the trainings: of a dictionary, and of the small model of the city world."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from pydantic import Field

from backlight.config.options import Flag, ModelOptions, RunOptions, TextOptions

__all__ = ["TrainSaeConfig", "TrainWorldConfig"]


class TrainSaeConfig(TextOptions, ModelOptions):
    """Options of ``backlight train-sae``."""

    layer: int | None = Field(default=None, ge=0, description="Which layer. [required]")
    site: str = Field(
        default="mlp.out",
        description="Which tensor of the layer: any kind that `backlight sites MODEL` lists.",
    )
    num_features: int | None = Field(
        default=None,
        gt=1,
        description="Features of the dictionary. [default: four times the site's width]",
    )
    num_tokens: int = Field(
        default=300_000,
        gt=0,
        description="Tokens of text to read. Their activations are held in memory: 4 bytes times "
        "tokens times width (300000 tokens of SmolLM2: 0.7 GB).",
    )
    held_out: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="Share of them, from the end of the text, that is only measured on.",
    )
    k: int = Field(default=40, gt=0, description="Features that fire at a token, on average.")
    epochs: int = Field(default=10, gt=0, description="How often each activation is learned from.")
    tokens_per_step: int = Field(
        default=1024, gt=0, description="Tokens in a step of the training."
    )
    learning_rate: float = Field(
        default=3e-3,
        gt=0,
        description="Adam's, at its highest; activations are scaled to a mean squared norm of "
        "their width.",
    )
    batch_size: int = Field(
        default=16, gt=0, description="Passages that pass through the model at once."
    )
    seed: int = Field(
        default=0, ge=0, description="Fixes the first directions and the order of the tokens."
    )
    save_dtype: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32", description="Number format of the saved dictionary."
    )
    output_dir: Path | None = Field(
        default=None,
        description="Where the dictionary goes. [default: `runs/sae_{model}_{site}_layer_{layer}`]",
    )
    overwrite: Flag = Field(
        default=False, description="Replace a dictionary that was trained there before."
    )


class TrainWorldConfig(RunOptions):
    """Options of ``backlight train-world``."""

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
