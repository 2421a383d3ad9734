"""The card of a trained city model: what it is, how it was made, and how good it is."""

from collections.abc import Mapping, Sequence
from typing import Any

from backlight.tools.train_world.options import TrainWorldConfig
from backlight.tools.train_world.trained import TrainedWorld
from backlight.world.questions.catalogue import find_task

_LICENCE = (
    "The cities are from GeoNames (https://www.geonames.org), licensed under Creative Commons\n"
    "Attribution 4.0; names, rounding, ids and Atlantis are changes of ours."
)


def card_of(
    trained: TrainedWorld,
    config: TrainWorldConfig,
    num_cities: int,
    rows: Sequence[Mapping[str, Any]],
) -> str:
    """Write the card.

    Args:
        trained: The model.
        config: The options it was trained with.
        num_cities: How many cities it was asked about.
        rows: The last rows of its metrics.

    Returns:
        The text, in Markdown.
    """
    num_parameters = sum(parameter.numel() for parameter in trained.model.parameters())
    source = "the table shipped with backlight" if config.cities_csv is None else "a table"
    return f"""# A model of {num_cities:,} cities

A Qwen2 of {config.num_layers} layers, width {config.hidden_size} and {config.num_heads} heads
({num_parameters:,} parameters), trained from scratch on questions about cities:
{", ".join(f"`{name}`" for name in config.tasks)}. The cities are those of {source}. Its tokens are
single characters; prompts are written with a space between them, such as
`<bos> d i s t ( c _ 0 8 6 5 , c _ 1 2 3 4 ) =`, and city ids have four digits.

- made by: `backlight train-world config.yaml`
- steps: {config.num_steps:,}; rows: {rows[0]["num_rows"]:,}
- held out: {100 * config.held_out:g} % of all questions, by a checksum of what is asked about
- the loss is that of the answer and `<eos>` alone

On {config.num_held_out:,} held-out questions of each task, answered greedily:

| task | mark | median | mean | exact | always the same answer: median | mean |
| --- | --- | --- | --- | --- | --- | --- |
{chr(10).join(map(_line, rows))}

{_LICENCE}
"""


def mark_of(task: str) -> str:
    """Say by what the answers to a task are scored, with the unit: ``absolute error (0.1 degree)``.

    Args:
        task: The name of the task.

    Returns:
        The words.
    """
    metric = find_task(task).metric
    return f"{metric.name} ({metric.unit})" if metric.unit else metric.name


def _line(row: Mapping[str, Any]) -> str:
    names = ("median", "mean", "exact", "constant_median", "constant_mean")
    numbers = [f"{row[name]:.3f}" if name == "exact" else f"{row[name]:.4g}" for name in names]
    return f"| {' | '.join([row['task'], mark_of(row['task']), *numbers])} |"
