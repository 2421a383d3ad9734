"""Options of ``backlight export``."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from pydantic import Field

from backlight.surveys.driver.options.shared import Flag, Options

Form = Literal["indices", "steered", "neuronpedia", "weights", "parquet"]


class ExportConfig(Options):
    """Write what a run or a comparison found in the form that other tools read.

    Takes a saved run or a saved comparison of runs. Of a comparison those units are written that
    surely differ, the surest first; of a run of `layers` or `sae` the largest of each layer; with
    --rank_by a list that the comparison made. No model is loaded, and nothing is sent anywhere.
    """

    run: Annotated[Path, Parameter(parse=False)] = Field(
        description="The directory of a run or of a comparison."
    )
    to: Form = Field(
        default="indices",
        description="indices: JSON with the numbers of the units of each layer. steered: the CSV "
        "of lm-eval's --model steered. neuronpedia: a list of features as Neuronpedia's API takes "
        "it, and a quick-list link. weights: .npy, a weight for each dimension. parquet: a folder "
        "with all tables (of runs of tokens and flow too).",
    )
    output: Path = Field(description="The file to write; of several files their folder.")
    overwrite: Flag = Field(default=False, description="Replace what is there.")
    q: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="The largest false discovery rate of a unit: of its difference, or in a run of "
        "its mean not being zero. [default: 0.05 of a comparison, any of a run or with --rank_by]",
    )
    top: int | None = Field(
        default=None,
        gt=0,
        description="How many units of each layer at most. [default: all of a comparison, 20 of a "
        "run; 1 for steered, since lm-eval steers with one feature of a module]",
    )
    side: Literal["a", "b", "both"] = Field(
        default="both", description="Of a comparison, the run in which units are higher."
    )
    rank_by: str | None = Field(
        default=None,
        description="Take this list of the comparison, such as crisp; it was made with `backlight "
        "compare --rank_by`.",
    )
    lam: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Of weights: the share of evenness, lam * 1 + (1 - lam) * w, where w is what "
        "the run says of a dimension, of a comparison a/b (b/a with --side b).",
    )
    action: Literal["clamp", "add"] = Field(
        default="clamp",
        description="Of steered: clamp sets the activation along the feature's direction to the "
        "coefficient, add adds so much of the direction.",
    )
    coefficient: float = Field(default=0.0, description="Of steered: the steering coefficient.")
    loader: Literal["sparsify", "sae_lens"] | None = Field(
        default=None,
        description="Of steered: what lm-eval reads the dictionary with. [default: by its format]",
    )
    sparse_model: str | None = Field(
        default=None,
        description="Of steered: the dictionaries as that library finds them, a repository, a "
        "folder or a release. [default: where the run found them]",
    )
    sae_id: str | None = Field(
        default=None,
        description="Of steered with sae_lens: the dictionary's id in its release, with {layer} "
        "for the layer. [default: its folder in the repository]",
    )
    hookpoint: str | None = Field(
        default=None,
        description="Of steered: the module whose output is steered, as in the base model's "
        "named_modules, with {layer}. [default: by the model's architecture and the site]",
    )
    neuronpedia: str | None = Field(
        default=None,
        description="Of neuronpedia: MODEL/SOURCE with {layer}, such as "
        "gemma-2-2b/{layer}-gemmascope-mlp-16k. [default: what the dictionary's files say]",
    )
