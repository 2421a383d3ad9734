"""What ``backlight train-sae`` prints: progress, and at the end how good the dictionary is."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table as RichTable

from backlight.foreign.text import plain
from backlight.surveys.driver.account import corpus_lines
from backlight.surveys.driver.progress import console
from backlight.tools.train_sae.options import TrainSaeConfig
from backlight.tools.train_sae.trained import TrainedDictionary

_WIDTH = 80
_Step = TypeVar("_Step")


def shown(
    steps: Iterable[_Step], title: str, total: int, describe: Callable[[_Step], tuple[int, str]]
) -> Iterator[_Step]:
    """Hand steps on, while a progress bar says how many tokens are done and how it goes.

    Args:
        steps: Some work.
        title: What it is.
        total: Tokens of the whole.
        describe: Says how many tokens a step had, and how it went.

    Yields:
        The steps.
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[state]}", markup=False),
    )
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task(plain(title), total=total, state="")
        for step in steps:
            num_tokens, state = describe(step)
            bar.update(task, advance=num_tokens, state=state)
            yield step


def print_trained(config: TrainSaeConfig, trained: TrainedDictionary) -> None:
    """Print how good a dictionary is, where its files are, and how it is used.

    Args:
        config: The options.
        trained: The dictionary.
    """
    console().print(_table(config, trained))
    lines = [
        "",
        f"SAELens               {trained.saelens}",
        f"dictionary_learning   {trained.dictionary_learning}",
        f"Its features          backlight sae --model_name {config.model_name} "
        f"--sae_path {trained.saelens}",
    ]
    console().print("\n".join(lines), soft_wrap=True)


def _table(config: TrainSaeConfig, trained: TrainedDictionary) -> RichTable:
    quality, recovery = trained.quality, trained.recovery
    seconds = ", ".join(f"{name} {value:.0f}" for name, value in trained.seconds.items())
    told = corpus_lines(config, {"text": trained.origin["corpus"]})
    caption = (
        f"On {quality.num_tokens:,} held-out tokens of {config.dataset}, the first of each passage "
        f"left out. Loss on {recovery.num_tokens:,} of them, nats per token: {recovery.clean:.3f} "
        f"as the model is, {recovery.spliced:.3f} with the reconstruction, {recovery.zeroed:.3f} "
        f"with zeros.\nSeconds: {seconds}."
    )
    caption = "\n".join([caption, *told])
    table = RichTable(
        title=f"{trained.dictionary.num_features} features of {trained.site.name} of "
        f"{config.model_name}",
        caption=caption,
        caption_justify="left",
        show_header=False,
        min_width=_WIDTH,
    )
    rows = {
        "explained variance": f"{quality.explained_variance:.4f}",
        "the same, with first tokens": f"{quality.explained_variance_with_first:.4f}",
        "features that fire at a token (L0)": f"{quality.l0:.1f}",
        "features that never fire": f"{100 * quality.dead_share:.1f} %",
        "loss recovered": f"{recovery.share:.4f}",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table
