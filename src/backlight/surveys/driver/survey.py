"""What every survey of a corpus begins with: model, text, batches, and where results go."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from numpy.typing import NDArray

from backlight.data.batches import Passages, bucket, tokenize
from backlight.data.given import Given
from backlight.errors import RunDirectoryError, quoted
from backlight.models.lending import borrowed
from backlight.models.subject import Subject
from backlight.runs.directory import RunDirectory
from backlight.runs.provenance import provenance
from backlight.stats.progress import Progress
from backlight.surveys.driver.options import CorpusOptions, RunOptions
from backlight.surveys.driver.session import Clock, follow, restore_checkpoint, start_run
from backlight.surveys.driver.text import check_passages, rows_of

_logger = logging.getLogger(__name__)

_NUM_CHANGES = 3
_MASKS = "right-padded; pads count nowhere; every other token counts, the last of each too"


@runtime_checkable
class _Surveyed(Protocol):
    num_batches: int

    def state(self) -> dict[str, NDArray[Any]]: ...

    def restore(self, state: dict[str, NDArray[Any]]) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What is surveyed.

    Attributes:
        subject: The model.
        passages: The corpus.
        batches: The members of each batch.
        rows_sha256: A hash of the text, None if it has a name.
    """

    subject: Subject
    passages: Passages
    batches: Sequence[Sequence[int]]
    rows_sha256: str | None = None


def finished(config: CorpusOptions, found: RunDirectory | None) -> RunDirectory | None:
    """Find a run that is finished, so that its results can be read back.

    Args:
        config: The options.
        found: An earlier run with these options, None if there is none.

    Returns:
        The run, None if it is not finished.

    Raises:
        RunDirectoryError: If it measured other data in memory than is given now.
    """
    if found is None or not found.is_finished:
        return None
    if isinstance(config.dataset, Given):
        before = found.provenance().get("corpus", {}).get("rows_sha256")
        if before != rows_of(config, config.num_samples).fingerprint():
            raise RunDirectoryError(
                f"The finished run in {quoted(found.path)} measured other data in memory than was "
                "given now; start anew with overwrite, or name another output_dir."
            )
    return found


def gather(config: CorpusOptions, load: Callable[[], Subject], clock: Clock) -> Material:
    """Read the text, load the model, and cut the text into batches.

    Args:
        config: The options.
        load: Gives the model.
        clock: Told of the phases.

    Returns:
        What is to be surveyed.

    Raises:
        ConfigError: If passages are longer than the model reads.
        DatasetError: If there are tokens that the model has not.
    """
    rows = rows_of(config, config.num_samples)
    _tell_rest(config)
    clock.lap("dataset_preparation")
    subject = load()
    clock.lap("model_loading")
    passages = tokenize(rows, subject.tokenizer, max_length=config.max_length)
    check_passages(subject, passages, config.max_length)
    batches = bucket(passages, batch_size=config.batch_size, seed=config.seed)
    clock.lap("dataset_preparation")
    return Material(
        subject=subject,
        passages=passages,
        batches=batches,
        rows_sha256=rows.fingerprint() if isinstance(config.dataset, Given) else None,
    )


def begin(
    config: RunOptions,
    command: str,
    name: str,
    material: Material,
    found: RunDirectory | None,
    *,
    masks: str = _MASKS,
    **more: Any,
) -> RunDirectory | None:
    """Make the run's directory, or make sure that an earlier one can be gone on with.

    Args:
        config: The options.
        command: The command's name.
        name: How an automatically named directory begins.
        material: What is surveyed.
        found: The earlier run, None for a new one.
        masks: Which tokens count.
        **more: What else the numbers come from; it must be the same when a run is resumed.

    Returns:
        The directory, None if nothing is to be written.

    Raises:
        RunDirectoryError: If the text, the model or anything else has changed since.
    """
    origin = {**_origin(command, material), "masks": masks, **more}
    if found is None:
        return start_run(config, name, origin)
    _refuse_other_material(found, origin, ("corpus", "model", *more))
    found.take_up()
    return found


def measure(
    material: Material,
    state: _Surveyed,
    survey: Callable[[], Iterable[Progress]],
    directory: RunDirectory | None,
    *,
    title: str,
) -> None:
    """Drive a survey from where it stopped, if it did, to its end.

    Args:
        material: What is surveyed.
        state: Where what is found goes; an earlier state of the run is taken up.
        survey: Begins the survey where the state stands.
        directory: The run, None if nothing is written.
        title: What the progress bar says.
    """
    if directory is not None:
        restore_checkpoint(directory, state.restore)
    tokens = material.passages.tokens
    done = [member for members in material.batches[: state.num_batches] for member in members]
    # Borrowed once for all passes, which then need not do so one by one.
    with borrowed(material.subject.model):
        follow(
            survey(),
            state,
            directory,
            title=title,
            total_tokens=material.passages.num_tokens,
            done_tokens=sum(len(tokens[member]) for member in done),
        )


def _tell_rest(config: CorpusOptions) -> None:
    source = config.dataset.source if isinstance(config.dataset, Given) else None
    if isinstance(source, (list, tuple)) and len(source) > config.num_samples:
        _logger.info(
            "Of %s rows in memory the first %s that count are measured (num_samples).",
            f"{len(source):,}",
            f"{config.num_samples:,}",
        )


def _origin(command: str, material: Material) -> dict[str, Any]:
    subject, passages = material.subject, material.passages
    corpus = {**passages.account(), "tokens_sha256": passages.fingerprint()}
    if material.rows_sha256 is not None:
        corpus["rows_sha256"] = material.rows_sha256
    return {
        "command": command,
        **provenance(),
        "model": dict(subject.facts),
        "corpus": corpus,
        "threads": torch.get_num_threads(),
    }


def _refuse_other_material(
    directory: RunDirectory, origin: Mapping[str, Any], parts: Sequence[str]
) -> None:
    """Refuse to go on with a run whose text or model have changed since."""
    before = directory.provenance()
    for what in parts:
        if before.get(what) != origin[what]:
            raise RunDirectoryError(
                f"The {what} changed since the run in {quoted(directory.path)} began "
                f"({_changes(before.get(what), origin[what])}); start anew with --overwrite."
            )
    if before.get("threads") != origin["threads"]:
        _logger.warning(
            "The run began with %s threads and goes on with %s: last bits of sums may differ.",
            before.get("threads"),
            origin["threads"],
        )


def _changes(before: Any, now: Any) -> str:
    """Tell the first few values that differ between two records."""
    old, new = dict(_flat(before)), dict(_flat(now))
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    told = [f"{name} {quoted(old.get(name))} then, {quoted(new.get(name))} now" for name in names]
    return "; ".join(told[:_NUM_CHANGES]) + ("; ..." if len(told) > _NUM_CHANGES else "")


def _flat(record: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(record, Mapping):
        for name, value in record.items():
            yield from _flat(value, f"{path}.{name}" if path else str(name))
    else:
        yield path, record
