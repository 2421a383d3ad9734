"""Options of ``backlight tokens``."""

from collections.abc import Sequence
from itertools import product
from math import prod
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from cyclopts import Parameter
from pydantic import BeforeValidator, Field

from backlight.surveys.driver.options.dry_run import DryRunOptions
from backlight.surveys.driver.options.memory import MemoryOptions
from backlight.surveys.driver.options.samples import BatchSize
from backlight.surveys.driver.options.shared import (
    SHIPPED,
    BackwardOptions,
    CheckOptions,
    Flag,
    Layers,
    Listed,
    ModelOptions,
    PathOptions,
    ShownRunOptions,
)
from backlight.surveys.driver.options.workers import WorkerOptions

_MOST_CHOICES = 1000


def _one_pattern(found: Any) -> Any:
    """Write nested patterns as one: a list is an AND, a mapping may say AND or OR."""
    if isinstance(found, (list, tuple)):
        return _joined(found, "AND")
    if isinstance(found, dict) and len(found) == 1 and set(found) <= {"AND", "OR"}:
        (how, parts), *_ = found.items()
        return _joined(parts, how)
    return found


def _joined(parts: Sequence[Any], how: str) -> str:
    """Join patterns; && binds tighter than ||, so an AND of ORs is multiplied out."""
    texts = [str(_one_pattern(part)) for part in parts]
    if how == "OR":
        return " || ".join(texts)
    choices = [text.split("||") for text in texts]
    if prod(map(len, choices)) > _MOST_CHOICES:
        raise ValueError(f"the patterns, multiplied out, are more than {_MOST_CHOICES:,}")
    return " || ".join(" && ".join(part.strip() for part in choice) for choice in product(*choices))


_Anything = TypeVar("_Anything")
_YamlOnly = Annotated[_Anything, Parameter(parse=False)]
_Pattern = Annotated[str, BeforeValidator(_one_pattern)]


class TokensConfig(
    PathOptions,
    WorkerOptions,
    MemoryOptions,
    DryRunOptions,
    ShownRunOptions,
    CheckOptions,
    BackwardOptions,
    ModelOptions,
):
    """Measure at which token and in which layer the gradient of an answer sits.

    Prompts come from one of twelve tasks about cities (the small shipped model has learned one of
    them, distances), or from a template with fields, for any model. Prints what was found in three
    sentences, and the positions with the largest gradients; with --table also the shape of the
    gradient vectors everywhere. With --save_outputs or --output_dir it also writes arrays, tables,
    heatmaps and PCA figures.
    """

    task_type: str | None = Field(
        default=None,
        description="A city task: distance, trianglearea, angle, compass, crossing, inside, "
        "perimeter, nearest_neighbor, randomwalk, center, circlecount, randring.",
    )
    task_options: _YamlOnly[dict[str, Any]] = Field(
        default_factory=dict[str, Any],
        description="How the task draws its questions, such as min_n and max_n.",
    )
    sampling: _YamlOnly[dict[str, Any]] = Field(
        default_factory=dict[str, Any],
        description="Which cities are asked about together: type all_pairs, within_groups, "
        "between_groups, must_include or mixed, and what it needs.",
    )
    city_groups: _YamlOnly[dict[str, dict[str, Any]]] = Field(
        default_factory=dict[str, dict[str, Any]],
        description="The groups that sampling names: city_ids, city_names, country_codes, regions "
        "and bounds, all of which must hold.",
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
        default=None,
        description="Values of the fields, one prompt for each row: .csv, .tsv, .jsonl or .json. "
        "Without a template, the columns prompt and answer are the prompts.",
    )
    answer: str | None = Field(
        default=None, description='What should follow a template: " {capital}".'
    )
    wrong_answer: str | None = Field(
        default=None, description="A wrong answer, for --objective logit_difference."
    )
    objective: Literal["loss", "logit", "logit_difference"] = Field(
        default="loss",
        description="What is differentiated: the mean loss of the answer's tokens, the logit of "
        "its first token, or that logit less the one of the wrong answer.",
    )
    include_eos: Flag = Field(
        default=False,
        description="The loss also counts the end-of-sequence token after the answer.",
    )
    model_name: str = Field(
        default=SHIPPED,
        description="city (shipped; it has learned distances between cities), hub id, local "
        "folder, or smollm2.",
    )
    experiment_dir: Path | None = Field(
        default=None,
        description="A folder of `backlight train-world`, from which the model is read.",
    )
    checkpoint: str = Field(
        default="final", description="Which checkpoint of experiment_dir: final, or a number."
    )
    cities_csv: Path | None = Field(
        default=None, description="The cities. [default: the shipped ones]"
    )
    probe_train: _Pattern = Field(
        default="region:.*",
        description="Cities that the first 70 % of the prompts ask about: `column:regex`, joined "
        "by && and ||.",
    )
    probe_test: _Pattern = Field(
        default="region:.*", description="Cities that the other 30 % ask about."
    )
    n_samples: int = Field(default=100, gt=0, description="Number of prompts.")
    seed: int = Field(default=42, ge=0, description="Determines the prompts and their order.")
    target_layers: Layers = Field(
        default="all", description="Such as 0-5, or 0,2,4, or all; also a list in YAML."
    )
    sites: Listed = Field(
        default="resid.post",
        description="Sites of each layer, such as resid.post,mlp.out,attn.q.",
    )
    target_positions: Listed = Field(
        default="auto",
        description="Positions at which whole gradient vectors are kept for PCA, by the names "
        "that --list_positions shows. auto: the last token of each field and of the prompt.",
    )
    pca: Literal["standardized", "raw"] = Field(
        default="standardized",
        description="Whether each dimension is divided by its standard deviation before the PCA.",
    )
    color_by: str | None = Field(
        default=None,
        description="The column of tables/prompts.csv that colours the PCA. "
        "[default: the answer, if it is a number]",
    )
    batch_size: BatchSize = Field(
        default=64,
        description="Prompts in a batch; auto: as many as this device takes best, measured at the "
        "start and remembered.",
    )
    list_positions: Flag = Field(
        default=False, description="Only list the positions of these prompts."
    )
