"""Options of ``backlight sae``."""

import re
from typing import Any, Literal

from pydantic import Field, field_validator

from backlight.surveys.driver.options.dry_run import DryRunOptions
from backlight.surveys.driver.options.memory import MemoryOptions
from backlight.surveys.driver.options.precision import PrecisionOptions
from backlight.surveys.driver.options.shared import (
    Flag,
    Layers,
    PathOptions,
    Quantity,
    SurveyConfig,
)
from backlight.surveys.driver.options.workers import WorkerOptions

_MEMORY = re.compile(r"^(\d{1,9}(?:\.\d{1,9})?) ?([KMG]?)i?B$")


class SaeConfig(
    PrecisionOptions, PathOptions, WorkerOptions, MemoryOptions, DryRunOptions, SurveyConfig
):
    """Measure the gradient of the loss with respect to the features of sparse dictionaries.

    Reads the files of SAELens, dictionary_learning, sparsify and circuit-tracer (its cross-layer
    transcoders with --splice error), and those of Gemma Scope, Llama Scope and Qwen Scope. Each
    dictionary must first reconstruct its site. Prints what was found in three sentences, and the
    features that matter most with standard errors; with --table also a line for each layer. With
    --save_outputs or --output_dir it also writes arrays, tables and figures.
    """

    sae_path: str | None = Field(
        default=None,
        description="The dictionaries: a folder with one, a folder of folders with the layer in "
        "their names, a path with {layer} in it, a hub id, or smollm2 (shipped, layer 15). "
        "[required]",
    )
    layers: Layers = Field(
        default="all",
        description="Such as 0-23, or 0,5,10, or all: every layer that has a dictionary.",
    )
    site: str | None = Field(
        default=None,
        description="The site that the dictionaries are for, such as mlp.out or resid.post. "
        "[default: the site that their files name]",
    )
    splice: Literal["replace", "error"] = Field(
        default="replace",
        description="How a dictionary enters the model. replace: its reconstruction takes the "
        "activation's place, one layer at a time. error: the reconstruction's error is added "
        "back, so the forward pass is unchanged and one pass serves all layers.",
    )
    position_stride: int | None = Field(
        default=None,
        gt=0,
        description="Look at every n-th token of each passage, from the first one. [default: 4 "
        "with --splice replace, 1 with error]",
    )
    active_only: Flag = Field(
        default=False,
        description="Average over the tokens where a feature fires, instead of over all tokens.",
    )
    warn: Flag = Field(
        default=False,
        description="With --splice error and gradients of all tokens: encode the tokens, which "
        "that does not need, to say how far predictions of setting a feature to zero can be "
        "believed. Everywhere else this is said anyway.",
    )
    record_activity: Flag = Field(
        default=False,
        description="With --splice error and gradients of all tokens: encode the tokens, which "
        "that does not need, to record how often and how strongly each feature fires, which "
        "`backlight compare --rank_by` ranks by. Everywhere else it is recorded anyway: 32 bytes "
        "for each feature.",
    )
    chunk_memory: str = Field(
        default="1GB",
        description="Memory for what is kept of the model while dictionaries are used one by one, "
        "such as 500MB or 2GB.",
    )
    keep_groups: Flag = Field(
        default=False,
        description="Keep sums of each feature over 64 groups of passages, so that `backlight "
        "compare` can pair runs that read the same ones: 256 bytes for each feature and mode.",
    )
    allow_poor_reconstruction: Flag = Field(
        default=False,
        description="Continue with a warning if a dictionary explains less than 0.3 of the "
        "variance at its site.",
    )

    @field_validator("aggregate_by")
    @classmethod
    def _is_first_order(cls, quantity: Quantity) -> Quantity:
        if quantity == "fisher":
            raise ValueError("of features it is rms squared: --aggregation_mode rms --power 2")
        if quantity == "hessian_diagonal":
            raise ValueError("it is measured at sites, by `backlight layers`, not at features")
        return quantity

    @field_validator("keep_groups")
    @classmethod
    def _has_an_error(cls, keep_groups: bool, info: Any) -> bool:
        if keep_groups and info.data.get("aggregation_mode") == "rms":
            raise ValueError("it keeps sums of mean and mean_abs, and the mode is rms")
        return keep_groups

    @field_validator("chunk_memory")
    @classmethod
    def _is_a_size(cls, text: str) -> str:
        if _MEMORY.fullmatch(text.strip()) is None:
            raise ValueError("write a size such as 500MB or 2GB")
        return text

    @property
    def stride(self) -> int:
        """The stride, also where none is given."""
        return self.position_stride or (4 if self.splice == "replace" else 1)

    @property
    def chunk_bytes(self) -> int:
        """The memory of a chunk, in bytes."""
        match = _MEMORY.fullmatch(self.chunk_memory.strip())
        assert match is not None  # the field's pattern
        return int(float(match[1]) * 1024 ** " KMG".index(match[2] or " "))
