"""The runs that are compared, read from their directories or taken as they are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from backlight.errors import ConfigError, RunDirectoryError, quoted
from backlight.runs.config import PROVENANCE
from backlight.runs.directory import RunDirectory
from backlight.runs.files import parse_arrays
from backlight.runs.results import Results, load_results
from backlight.runs.urls import Place
from backlight.surveys.comparison.measure.sides import Run
from backlight.surveys.comparison.options import MAY_DIFFER, CompareConfig
from backlight.surveys.driver.findings import groups_file
from backlight.surveys.driver.presenting import SurveyPresentation
from backlight.surveys.driver.words.reached import PRECISION

_COMPARED = ("layers", "sae", "flow", "tokens")
_TEXT = ("dataset", "text_column", "split", "min_characters", "num_samples", "max_length")
_NUM_RUNS = 2
_GROUPS = groups_file(0).partition("/")[0] + "/"


def read(
    options: CompareConfig, *, results: Sequence[Results | None] = (None, None)
) -> dict[str, Any]:
    """Read the runs, and refuse those that cannot be compared.

    Args:
        options: What is asked.
        results: The runs that are at hand; None for one to be read from its directory.

    Returns:
        What the door ``measure`` takes besides the options: ``runs``, ``same_passages`` and
        ``material``.

    Raises:
        ConfigError: If there are not two runs, or they measured different things, which is not
            allowed.
        RunDirectoryError: If one is no finished run of a survey that can be compared.
    """
    places = _places(options, results)
    found = [
        load_results(place) if own is None and place is not None else own
        for place, own in zip(places, results, strict=True)
    ]
    first, second = (
        opened(each, label)
        for each, label in zip(found, _labels(found), strict=True)
        if each is not None
    )
    _refuse_others(first, second, options.allowed)
    return {
        "runs": (first.run, second.run),
        "same_passages": first.tokens is not None
        and (first.tokens, first.drawn) == (second.tokens, second.drawn),
        "material": {"compared": {"a": first.identity(), "b": second.identity()}},
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
    origin = results.config.get(PROVENANCE)
    origin = origin if isinstance(origin, Mapping) else {}
    corpus = origin.get("corpus", results.metadata.get("corpus"))
    return Opened(
        run=Run(
            command=_command_of(results, origin),
            label=label,
            tables=results.tables,
            statistics=results.statistics,
            config=results.config,
            groups=None if results.path is None else _groups_in(results.path),
        ),
        path=results.path,
        origin=origin,
        tokens=corpus.get("tokens_sha256") if isinstance(corpus, Mapping) else None,
        drawn=_drawn(results),
    )


def _drawn(results: Results) -> tuple[Any, ...] | None:
    """Say which passages a run measured that stopped before the end of its text."""
    told = results.metadata.get(PRECISION)
    if told is None or told["num_passages"] == told["most_passages"]:
        return None
    return (told["num_passages"], results.config["seed"])


def _places(options: CompareConfig, results: Sequence[Results | None]) -> Sequence[Path | None]:
    if all(each is not None for each in results):
        return [None] * len(results)
    if len(options.runs) != _NUM_RUNS:
        raise ConfigError(
            f"Name two runs, not {len(options.runs)}: backlight compare RUN_A RUN_B, the "
            "directories of finished runs of layers, sae, flow or tokens."
        )
    return options.runs


def _labels(found: Sequence[Results | None]) -> Sequence[str]:
    """Call runs by the names of their directories, by whole paths if these are the same."""
    paths = [None if each is None else each.path for each in found]
    names = [None if path is None else path.name for path in paths]
    if None in names:
        return ["a", "b"]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    return [str(name) for name in names]


def _groups_in(path: Place) -> Callable[[int], Mapping[str, NDArray[Any]]] | None:
    """Say how to read a layer's sums over groups of passages, if there are any in a run."""
    run = RunDirectory(path)
    if not any(name.startswith(_GROUPS) for name in run.manifest()["files"]):
        return None
    return lambda layer: parse_arrays(run.read(groups_file(layer)), path / groups_file(layer))


def _command_of(results: Results, origin: Mapping[str, Any]) -> str:
    shown, command = results.presentation, origin.get("command")
    if command is None and isinstance(shown, SurveyPresentation):
        command = shown.survey.name
    if command not in _COMPARED:
        what = "" if command is None else f", not of `backlight {command}`"
        known = ", ".join(f"`backlight {name}`" for name in _COMPARED)
        raise RunDirectoryError(
            f"{quoted(results.path or 'These results')}: what can be compared are runs of "
            f"{known}{what}."
        )
    return str(command)


def _refuse_others(first: Opened, second: Opened, allowed: Sequence[str]) -> None:
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
                f"The runs differ in {name} ({'; '.join(told)}), so their numbers do not mean the "
                f"same. If that is what you ask about, use --allow_different {name}."
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
