"""From a run to its page: what was asked and found, what is shown, and how it was made."""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from backlight.report.page.views import Page, Rows, View
from backlight.runs.config import CONFIG, PROVENANCE
from backlight.runs.results import Results
from backlight.surveys.driver.words.checks import CHECKS, check_lines


def page_of(results: Results, command: str, summary: Sequence[str], views: Iterable[View]) -> Page:
    """Put the page of a run together.

    Args:
        results: The run, measured just now or read from disk.
        command: What it is a run of, such as ``layers`` or ``lab clipping``.
        summary: What was asked and found, in whole sentences.
        views: What is shown.

    Returns:
        The page.
    """
    # A validation has its model from another run.
    config = {"model_name": results.metadata.get("model_name"), **results.config}
    about = [config[name] for name in ("model_name", "dataset", "task_type") if config.get(name)]
    subject = f": {', '.join(map(_written, about))}" if about else ""
    return Page(
        title=f"backlight {command}{subject}",
        summary=[*summary, *check_lines(results.metadata)],
        views=[*views, *_checks(results)],
        facts=dict(_facts(results)),
        commands=dict(_commands(results, command)),
    )


def _checks(results: Results) -> Iterator[View]:
    if CHECKS in results.tables:
        yield Rows(
            title="Numerical checks",
            note="Whether different ways to the same gradients agree on this model, on a few "
            "passages of this text. A difference of gradients is a share of the largest gradient "
            "of the same site in the same passage, one of losses of the passage's loss.",
            table=results.tables[CHECKS],
            columns={
                "verdict": "verdict",
                "what": "compared",
                "against": "with",
                "gradient_difference": "gradient",
                "loss_difference": "loss",
                "site": "at",
                "words": "what to do, or why",
            },
        )


def _commands(results: Results, command: str) -> Iterator[tuple[str, str]]:
    if results.path is None:
        return
    place = shlex.quote(str(results.path))
    config = shlex.quote(str(results.path / CONFIG))
    yield "Measure it again:", f"backlight {command} {config}"
    yield "Draw its figures and this page again:", f"backlight report {place}"
    yield "Read it in Python:", f"backlight.load_results({str(results.path)!r})"


def _facts(results: Results) -> Iterator[tuple[str, str]]:
    """List options, where the run came from, and how long its parts took."""
    config = dict(results.config)
    origin = config.pop(PROVENANCE, {})
    yield from _flat(config)
    yield from _flat(origin)
    yield from _flat({"seconds": _rounded(results.metadata.get("timing_stats", {}))})


def _rounded(seconds: Any) -> dict[str, Any]:
    if not isinstance(seconds, Mapping):
        return {}
    return {
        name: f"{value:.1f}" if isinstance(value, float) else value
        for name, value in seconds.items()
    }


def _flat(found: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for name, value in found.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        elif value is not None:
            yield f"{before}{name}", _written(value)


def _written(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_written, value))
    return str(value)
