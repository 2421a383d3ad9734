"""The runs that are compared, read from their directories or taken as they are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from backlight.errors import ConfigError, quoted
from backlight.runs.directory import RunDirectory
from backlight.runs.files import parse_arrays
from backlight.runs.results import Results, load_results
from backlight.runs.urls import Place
from backlight.surveys.comparison.measure.sides import Run
from backlight.surveys.comparison.options import MAY_DIFFER, CompareConfig
from backlight.surveys.driver.results.findings import GROUPS, groups_file
from backlight.surveys.driver.results.presenting import command_of
from backlight.surveys.driver.words.reached import PRECISION

_COMPARED = ("layers", "sae", "flow", "tokens")
_TEXT = ("dataset", "text_column", "split", "min_characters", "num_samples", "max_length")
_LEAST_RUNS = 2


def read(options: CompareConfig, *, results: Sequence[Results] = ()) -> dict[str, Any]:
    """Read the runs, and refuse those that cannot be compared.

    Args:
        options: What is asked.
        results: The runs, if they are at hand; otherwise they are read from their directories.

    Returns:
        What the door ``measure`` takes besides the options: ``runs``, ``same_passages`` and
        ``material``.

    Raises:
        ConfigError: If there are fewer than two runs, or they measured different things, which is
            not allowed.
        RunDirectoryError: If one is no finished run of a survey that can be compared.
    """
    found = results or [load_results(place) for place in options.runs]
    if len(found) < _LEAST_RUNS:
        raise ConfigError(
            f"Name two runs, not {len(found)}: backlight compare RUN_A RUN_B, the directories of "
            "finished runs of layers, sae, flow or tokens; or more, for a series."
        )
    runs = [opened(each, label) for each, label in zip(found, labels_of(found), strict=True)]
    first = runs[0]
    for other in runs[1:]:
        refuse_others(first, other, options.allowed)
    return {
        "runs": tuple(each.run for each in runs),
        "same_passages": all(
            first.tokens and (first.tokens, first.drawn) == (each.tokens, each.drawn)
            for each in runs
        ),
        "material": {
            "compared": {
                name: each.identity() for name, each in zip(_names(len(runs)), runs, strict=True)
            }
        },
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A run with what it says of itself.

    Attributes:
        run: The run.
        path: Where it is; None for results at hand.
        origin: Where it came from.
        tokens: A hash of the passages' tokens; None if it is not known.
        drawn: Which of the passages were measured; None for all of them.
    """

    run: Run
    path: Place | None
    origin: Mapping[str, Any]
    tokens: str | None
    drawn: tuple[Any, ...] | None = None

    def identity(self) -> dict[str, Any]:
        """Say which run it is, so that another one in the same place is noticed."""
        config = self.run.config
        return {
            "path": None if self.path is None else str(self.path),
            "command": self.run.command,
            "started": self.origin.get("started"),
            "model_name": config.get("model_name"),
            "dataset": str(config["dataset"]) if "dataset" in config else None,
            "tokens_sha256": self.tokens,
        }


def opened(results: Results, label: str) -> Opened:
    """Take a run for what it says of itself.

    Args:
        results: The run.
        label: What it is called.

    Returns:
        The run.

    Raises:
        RunDirectoryError: If it is no run of a survey that can be compared.
    """
    origin = results.provenance or results.material
    return Opened(
        run=Run(
            command=command_of(results, _COMPARED, "compared"),
            label=label,
            tables=results.tables,
            statistics=results.statistics,
            config=results.config,
            groups=_groups_of(results),
            data=results.data,
            tokens=_tokens(results, origin),
        ),
        path=results.path,
        origin=origin,
        tokens=_tokens(results, origin),
        drawn=_drawn(results),
    )


def _drawn(results: Results) -> tuple[Any, ...] | None:
    """Say which passages a run measured that stopped before the end of its text."""
    told = results.metadata.get(PRECISION)
    if told is None or told["num_passages"] == told["most_passages"]:
        return None
    return (told["num_passages"], results.config["seed"])


def _tokens(results: Results, origin: Mapping[str, Any]) -> str | None:
    corpus = origin.get("corpus", results.metadata.get("corpus"))
    return corpus.get("tokens_sha256") if isinstance(corpus, Mapping) else None


def labels_of(found: Sequence[Results]) -> list[str]:
    """Call runs by the names of their directories, by whole paths if these are the same.

    Args:
        found: The runs.

    Returns:
        What each is called; one that is in no directory a, b, ... by its place.
    """
    paths = [each.path for each in found]
    names = [path.name for path in paths if path is not None]
    told = [str(path) if len(set(names)) < len(names) else path.name for path in paths if path]
    known = iter(told)
    return [
        name if path is None else next(known)
        for name, path in zip(_names(len(found)), paths, strict=True)
    ]


def _names(count: int) -> list[str]:
    """Number runs: a and b of two, run_0, run_1 and so on of a series."""
    return ["a", "b"] if count == _LEAST_RUNS else [f"run_{place}" for place in range(count)]


def _groups_of(results: Results) -> Callable[[int | str], Mapping[str, NDArray[Any]]] | None:
    """Say how to read a layer's or a table's sums over groups of passages, if a run has any."""
    if results.path is None or results.groups:
        kept = results.groups
        return (lambda of: kept[groups_file(of)]) if kept else None
    path = results.path
    run = RunDirectory(path)
    if not any(name.startswith(GROUPS) for name in run.manifest()["files"]):
        return None
    return lambda of: parse_arrays(run.read(groups_file(of)), path / groups_file(of))


def refuse_others(first: Opened, second: Opened, allowed: Sequence[str]) -> None:
    """Refuse runs of different commands, or that measured different things."""
    one, other = first.run, second.run
    if one.command != other.command:
        raise ConfigError(
            f"{quoted(one.label)} is a run of `backlight {one.command}` and "
            f"{quoted(other.label)} one of `backlight {other.command}`: they share no numbers."
        )
    for name, options in MAY_DIFFER.items():
        told = [
            f"{option} {quoted(one.config.get(option))} and {quoted(other.config.get(option))}"
            for option in options
            if one.config.get(option) != other.config.get(option)
        ]
        if name == "tokenizer" and _are_cut_differently(first, second):
            told = ["the same text gives other tokens"]
        if told and name not in allowed:
            raise ConfigError(
                f"{quoted(one.label)} and {quoted(other.label)} differ in {name} "
                f"({'; '.join(told)}), so their numbers do not mean the same. If that is what you "
                f"ask about, use --allow_different {name}."
            )


def _are_cut_differently(first: Opened, second: Opened) -> bool:
    """Whether two models read the same text as other tokens."""
    one, other = first.run.config, second.run.config
    return (
        None not in (first.tokens, second.tokens)
        and first.tokens != second.tokens
        and "dataset" in one
        and all(one.get(name) == other.get(name) for name in _TEXT)
        and one.get("model_name") != other.get("model_name")
    )
