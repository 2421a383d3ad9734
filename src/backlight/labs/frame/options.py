"""Options that several experiments share."""

from pathlib import Path
from typing import Annotated, Literal, TypeVar

from cyclopts import Parameter
from pydantic import Field, PositiveInt, field_validator

from backlight.surveys.driver.options.shared import ShownRunOptions

T = TypeVar("T")

Many = Annotated[tuple[T, ...], Parameter(negative="")]
"""The type of an option of several words: ``--no-...`` would make no sense."""

Seeds = Annotated[
    PositiveInt, Field(description="How many seeds: the first, and those that follow it.")
]


class LabOptions(ShownRunOptions):
    """Options that every experiment has."""

    save_outputs: bool = Field(
        default=True,
        description="Write tables and figures to a new, automatically named directory in runs/.",
    )
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:N or mps.")
    seed: int = Field(default=1337, ge=0, description="The first seed.")
    seeds: Seeds = 1

    @property
    def all_seeds(self) -> range:
        """The first seed and those that follow it."""
        return range(self.seed, self.seed + self.seeds)


class CharacterOptions(LabOptions):
    """Options of experiments in which a small GPT learns characters."""

    text: Path | None = Field(
        default=None, description="A text to learn from. [default: the shipped plays]"
    )
    data_dir: Path | None = Field(
        default=None, description="A folder in nanoGPT's form, instead of a text."
    )
    num_steps: PositiveInt = Field(default=250, description="Steps of the training.")
    batch_size: PositiveInt = Field(default=32, description="Sequences in a step.")
    learning_rate: float = Field(default=1e-3, gt=0, description="AdamW's, constant.")
    block_size: PositiveInt = Field(default=64, description="Characters in a sequence.")
    n_layer: PositiveInt = Field(default=4, description="Blocks of the network.")
    n_head: PositiveInt = Field(default=4, description="Attention heads of a block.")
    n_embd: PositiveInt = Field(default=128, description="Width of the network.")
    attn_modes: Many[Literal["softmax", "sigmoid"]] = Field(
        default=("softmax", "sigmoid"), min_length=1, description="What makes scores to weights."
    )


class ExactOptions(LabOptions):
    """Options of experiments whose numbers are small, and exact: float64."""

    device: str = Field(
        default="cpu", description="cpu, cuda or cuda:N: mps has no 64-bit numbers."
    )

    @field_validator("device")
    @classmethod
    def _has_float64(cls, name: str) -> str:
        if name in {"auto", "mps"}:
            raise ValueError("write cpu, cuda or cuda:N: this experiment needs 64-bit numbers")
        return name
