"""Options of ``backlight train-sae``."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from backlight.surveys.driver.options.shared import Flag, ModelOptions, TextOptions


class TrainSaeConfig(TextOptions, ModelOptions):
    """Train a sparse dictionary of one site of a model, in minutes on a CPU.

    Streams text through the model, no further than the site, and trains a BatchTopK dictionary. It
    is saved for SAELens and for dictionary_learning, with a card that says how good it is on text
    that was held out.
    """

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
        description="Share of the tokens, at the end of the text, that is only measured.",
    )
    k: int = Field(default=40, gt=0, description="Features that fire at a token, on average.")
    epochs: int = Field(default=10, gt=0, description="How often each activation is used.")
    tokens_per_step: int = Field(
        default=1024, gt=0, description="Tokens in a step of the training."
    )
    learning_rate: float = Field(
        default=3e-3,
        gt=0,
        description="Highest rate of Adam; activations are scaled to a mean squared norm of their "
        "width.",
    )
    batch_size: int = Field(
        default=16, gt=0, description="Passages that pass through the model at once."
    )
    seed: int = Field(
        default=0, ge=0, description="Determines the first directions and the order of tokens."
    )
    save_dtype: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32", description="Number format of the saved dictionary."
    )
    output_dir: Path | None = Field(
        default=None,
        description="Where it is written. [default: `runs/sae_{model}_{site}_layer_{layer}`]",
    )
    overwrite: Flag = Field(
        default=False, description="Replace a dictionary that was trained there before."
    )
