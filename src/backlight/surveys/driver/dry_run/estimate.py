"""What a survey would do and take on this machine, told before anything is measured."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from backlight.errors import ConfigError
from backlight.foreign.text import plain
from backlight.models.memory import peak_memory
from backlight.surveys.driver.clock import Clock
from backlight.surveys.driver.declaration import Survey
from backlight.surveys.driver.dry_run.probing import Probe, probe
from backlight.surveys.driver.material.opening import Opening
from backlight.surveys.driver.measurement import Measurement
from backlight.surveys.driver.options.memory import parse_size, size_in_words
from backlight.surveys.driver.options.precision import may_stop
from backlight.surveys.driver.paths import duration
from backlight.surveys.driver.words.sentences import count
from backlight.surveys.driver.words.terminal import console

_LABEL = 10  # columns of the word before what is told


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a survey takes, as a short trial tells.

    Attributes:
        opening_seconds: To open model and text.
        measuring_seconds: To measure all batches, and to merge the states of shards.
        table_seconds: To make tables of a state.
        peak_bytes: What the process takes at most; None where the system does not say.
        device_bytes: What tensors take at most on a GPU; None without one.
        probe: The trial.
    """

    opening_seconds: float
    measuring_seconds: float
    table_seconds: float
    peak_bytes: int | None
    device_bytes: int | None
    probe: Probe

    @property
    def seconds(self) -> float:
        """All of the time."""
        return self.opening_seconds + self.measuring_seconds + self.table_seconds


def tell(survey: Survey, options: Any) -> None:
    """Print what a survey would do, and about what it would take.

    Args:
        survey: Which.
        options: Its options.

    Raises:
        ConfigError: If options ask for what a dry run cannot tell of.
    """
    refuse_unknowable(options)
    opening = Opening(options, None, Clock())
    measurement = survey.door("measure").prepare(options, opening)
    options = opening.options
    expected = expect(survey, options, measurement, opening.clock.total())
    for line in told(survey, options, measurement, expected):
        console().print(plain(line), soft_wrap=True)


def refuse_unknowable(options: Any) -> None:
    """Refuse options of which a dry run knows nothing, before anything is loaded.

    Args:
        options: Those of a survey.

    Raises:
        ConfigError: If there are any.
    """
    if options.quiet:
        raise ConfigError("--dry_run and --quiet exclude each other: it prints what it finds out.")
    if options.resume:
        raise ConfigError(
            "--dry_run tells of a whole run from its beginning, so --resume has no place beside it."
        )
    if options.workers > 1 or options.cluster is not None:
        raise ConfigError(
            "--dry_run tries a few batches in this process alone: leave --workers and --cluster "
            "out. Each worker takes about as much memory as is then told."
        )


def expect(
    survey: Survey,
    options: Any,
    measurement: Measurement[Any, Any],
    opening_seconds: float,
) -> Expected:
    """Try a few batches, and make tables of what they show.

    Args:
        survey: Which.
        options: Its options.
        measurement: It, ready to run; its state is afterwards that of the trial.
        opening_seconds: How long it took to open model and text.

    Returns:
        What all batches take.
    """
    sharding, device = measurement.sharding, measurement.corpus.subject.device
    tried = probe(measurement)
    start = time.perf_counter()
    survey.door("tables").findings(options, measurement)
    table_seconds = time.perf_counter() - start
    num_shards = len(sharding.shards)
    measuring = tried.costs.seconds(
        num_rounds=len(sharding.rounds),
        num_batches=len(sharding.batches),
        num_tokens=measurement.total,
    )
    return Expected(
        opening_seconds=opening_seconds,
        measuring_seconds=measuring + tried.join_seconds * (num_shards - 1),
        table_seconds=table_seconds,
        peak_bytes=_peak_bytes(options, measurement, tried),
        device_bytes=torch.cuda.max_memory_reserved(device) if device.type == "cuda" else None,
        probe=tried,
    )


def _peak_bytes(options: Any, measurement: Measurement[Any, Any], tried: Probe) -> int | None:
    """Estimate what the process takes at most, from what it took on trial."""
    peak, num_shards = peak_memory(), len(measurement.sharding.shards)
    if peak is None:
        return None
    # Without a directory the states of merged shards wait in memory, as the digits of a number do;
    # where each has rows of its own passages alone, all are no more than the one that was tried.
    is_written = options.save_outputs or options.output_dir is not None
    waiting = 0 if is_written or measurement.halves else max(0, num_shards.bit_length() - 2)
    expected = peak + waiting * tried.state_bytes + int(tried.more_bytes)
    if measurement.corpus.subject.passing is None:
        return expected
    return max(expected, parse_size(options.memory))  # as many batches as fit go together


def told(
    survey: Survey, options: Any, measurement: Measurement[Any, Any], expected: Expected
) -> Iterator[str]:
    """Say what a survey would do and take.

    Args:
        survey: Which.
        options: Its options.
        measurement: It.
        expected: What it takes.

    Yields:
        Lines.
    """
    yield f"Nothing was written. `backlight {survey.name}` with these options would take:"
    yield ""
    lines = {
        "Model": _model(options, measurement),
        "Measured": measurement.title,
        "Text": _text(options, measurement),
        "Work": _work(measurement, expected.probe),
        "Memory": _memory(expected),
        "Time": _time(options, measurement, expected),
    }
    for what, line in lines.items():
        yield f"{what:<{_LABEL}}{line}"
    yield ""
    yield f"Not counted: {', '.join(_not_counted(options))}."


def _model(options: Any, measurement: Measurement[Any, Any]) -> str:
    subject = measurement.corpus.subject
    num = sum(each.numel() for each in subject.model.parameters())
    dtype = subject.facts.get("dtype", options.dtype)
    return f"{subject.name}: {num:,} parameters, {dtype}, on {subject.device}"


def _text(options: Any, measurement: Measurement[Any, Any]) -> str:
    passages = measurement.corpus.passages
    most = "at most " * may_stop(options)
    return (
        f"{measurement.text or options.dataset}: {most}{count(len(passages.tokens), 'passage')}, "
        f"{count(passages.num_tokens, 'token')}"
    )


def _work(measurement: Measurement[Any, Any], tried: Probe) -> str:
    sharding = measurement.sharding
    num_batches = len(sharding.batches)
    cut = f"{count(num_batches, 'batch', 'batches')} in {count(len(sharding.shards), 'shard')}"
    passes = tried.num_passes
    whole = f"{passes:.0f}" if passes == round(passes) else f"{passes:.2f}"
    each = "forward pass" if whole == "1" else "forward passes"
    return f"{cut}, {whole} {each} for each batch ({passes * num_batches:,.0f} in all)"


def _memory(expected: Expected) -> str:
    state = f"a state is {size_in_words(expected.probe.state_bytes)}"
    if expected.peak_bytes is None:
        return f"this system does not say what a process takes; {state}"
    most = f"about {size_in_words(expected.peak_bytes)} at most"
    if expected.device_bytes is not None:
        most += f", and {size_in_words(expected.device_bytes)} on the GPU"
    return f"{most}, with the pages of files that are looked at; {state}"


def _time(options: Any, measurement: Measurement[Any, Any], expected: Expected) -> str:
    most = may_stop(options) or measurement.corpus.subject.passing is not None
    return (
        f"{'at most' if most else 'about'} {_span(expected.seconds)}: "
        f"{_span(expected.opening_seconds)} to open model and text, "
        f"{_span(expected.measuring_seconds)} to measure, "
        f"{_span(expected.table_seconds)} for tables"
    )


def _span(seconds: float) -> str:
    return "less than 1 s" if seconds < 1 else duration(seconds)


def _not_counted(options: Any) -> Iterator[str]:
    yield "the start of Python and its packages"
    if options.check:
        yield "--check"
    if options.save_outputs or options.output_dir is not None:
        yield "figures and files"
