"""Opening what is measured: the model that the options name, and the text, cut into batches."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from pydantic import BaseModel

from backlight.data.batches import Passages, bucket
from backlight.data.given import Given
from backlight.data.windows import Windows, draw_windows
from backlight.errors import ConfigError
from backlight.models.backward_rules.subjects import rule_of, with_backward
from backlight.models.loading import load_subject
from backlight.models.reading import refuse_unreadable
from backlight.models.sites import Site
from backlight.models.subject import Subject
from backlight.surveys.driver.clock import Clock
from backlight.surveys.driver.material.batch_size import with_batch_size
from backlight.surveys.driver.material.fitting import Largest, load_within
from backlight.surveys.driver.material.rows import corpus_passages, corpus_rows
from backlight.surveys.driver.options.memory import MemoryOptions
from backlight.surveys.driver.options.precision import may_stop
from backlight.surveys.driver.options.samples import most_samples
from backlight.surveys.driver.options.shared import BackwardOptions, CorpusOptions, ModelOptions
from backlight.surveys.driver.words.account import tell_account

_Options = TypeVar("_Options", bound=BaseModel)

_logger = logging.getLogger(__name__)


def load(options: ModelOptions) -> Subject:
    """Load the model that some options name."""
    return load_subject(
        options.model_name,
        device=options.device,
        dtype=options.dtype,
        attn_implementation=options.attn_implementation,
        revision=options.revision,
        trust_remote_code=options.trust_remote_code,
    )


def settle(options: _Options, subject: Subject | None) -> _Options:
    """Make options name the model that a caller in Python has loaded already.

    Args:
        options: The options.
        subject: The model, None for the one that the options name.

    Returns:
        The options, with the name of the model and the rule that its gradients go back by.

    Raises:
        ConfigError: If there is a model and there are options for loading one, or they name
            another rule than the model is under.
    """
    if subject is None:
        return options
    loading = (*ModelOptions.model_fields, *MemoryOptions.model_fields)
    idle = [name for name in loading if name in options.model_fields_set]
    if idle:
        raise ConfigError(f"A subject is given, so {', '.join(idle)} would have no effect.")
    named = options.model_copy(update={"model_name": subject.name})
    rule = rule_of(subject)
    if not isinstance(options, BackwardOptions) or rule == "true":
        return named
    if "backward" in options.model_fields_set and options.backward != rule:
        raise ConfigError(
            f"The subject's gradients go back by the rule {rule} already, so "
            f"backward={options.backward} cannot be had of it."
        )
    return named.model_copy(update={"backward": rule})


def check_passages(subject: Subject, passages: Passages, max_length: int) -> None:
    """Refuse passages that a model cannot read.

    Args:
        subject: The model.
        passages: What is to be measured.
        max_length: Where passages were cut, in tokens.

    Raises:
        ConfigError: If passages are longer than the model reads.
        DatasetError: If there are tokens that the model does not have.
    """
    remedy = f"lower --max_length (now {max_length})"
    refuse_unreadable(subject, passages.tokens, kind="passage", remedy=remedy)


def log_account(passages: Passages, max_length: int) -> None:
    """Log what of a text is not in its passages, where no table is printed that says so.

    Args:
        passages: What is measured.
        max_length: Where they were cut, in tokens.
    """
    told = tell_account(passages.account(), max_length)
    if told:
        _logger.info("%s", told)


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """A text in batches, and the model that reads it.

    Attributes:
        subject: The model.
        passages: The text.
        batches: The members of each batch.
        rows_sha256: A hash of the text, None if it has a name.
        windows: The order drawn by chance that the batches are in, if the survey may stop before
            the end; None for the usual one.
    """

    subject: Subject
    passages: Passages
    batches: Sequence[Sequence[int]]
    rows_sha256: str | None = None
    windows: Windows | None = None

    @property
    def shards(self) -> Sequence[range] | None:
        """The batches of each shard; None where they are cut by their tokens."""
        return None if self.windows is None else self.windows.shards

    @property
    def material(self) -> dict[str, Any]:
        """Describe the model and the text, so that others are noticed."""
        corpus = {**self.passages.account(), "tokens_sha256": self.passages.fingerprint()}
        if self.rows_sha256 is not None:
            corpus["rows_sha256"] = self.rows_sha256
        return {"model": dict(self.subject.facts), "corpus": corpus}


class Opening:
    """What a measure door is given to open model and text with, each at the moment of its choice.

    Attributes:
        clock: It is told of the phases.
        options: The options of the survey; of ``batch_size`` on with a number for it.
        told: What the run's metadata say of how the model was loaded, and the batch size chosen.
    """

    def __init__(self, options: Any, subject: Subject | None, clock: Clock) -> None:
        """Hold what to open.

        Args:
            options: The options of the survey.
            subject: A model that is already loaded, None for the one that the options name.
            clock: It is told of the phases.
        """
        self.clock, self.told = clock, dict[str, Any]()
        self.options = options
        self._subject = subject

    def subject(
        self,
        loader: Callable[[Any, Callable[[Any], Subject]], Subject] | None = None,
        *,
        largest: Largest | None = None,
    ) -> Subject:
        """Return the model that is already loaded, or load it, in a way of one's own if given.

        Args:
            loader: Given the options and what loads a model by options, loads it; None to load the
                one that the options name.
            largest: Of a text that the options do not cut: how large its batches are.

        Returns:
            The model; if the options name a rule for the way back, under this rule.
        """
        subject, options = self._subject, self.options
        if subject is None:
            load_it = partial(self._loaded, largest=largest)
            subject = load_it(options) if loader is None else loader(options, load_it)
        if isinstance(options, BackwardOptions):
            subject = with_backward(subject, options.backward)
            _tell_rule(subject)
        self.clock.lap("model_loading")
        return subject

    def _loaded(self, options: Any, *, largest: Largest | None) -> Subject:
        if getattr(options, "memory", None) is None:
            return load(options)
        subject, self.told = load_within(options, largest)
        return subject

    def corpus(self) -> Corpus:
        """Read the text, load the model, and cut the text into batches.

        Returns:
            What is to be measured.

        Raises:
            ConfigError: If passages are longer than the model reads.
            DatasetError: If there are tokens that the model does not have.
        """
        options: CorpusOptions = self.options
        rows = corpus_rows(options)
        _tell_rest(options)
        self.clock.lap("dataset_preparation")
        subject = self.subject()
        passages = corpus_passages(options, rows, subject.tokenizer)
        check_passages(subject, passages, options.max_length)
        self.clock.lap("dataset_preparation")
        how = {"batch_size": self.batch_size(subject, passages), "seed": options.seed}
        windows = draw_windows(passages, **how) if may_stop(options) else None
        batches = bucket(passages, **how) if windows is None else windows.batches
        self.clock.lap("dataset_preparation")
        return Corpus(
            subject=subject,
            passages=passages,
            batches=batches,
            rows_sha256=rows.fingerprint() if isinstance(options.dataset, Given) else None,
            windows=windows,
        )

    def batch_size(
        self, subject: Subject, passages: Passages, sites: Sequence[Site] | None = None
    ) -> int:
        """Return the batch size, which is chosen now if the options leave it to the device.

        Args:
            subject: The model.
            passages: The text.
            sites: Where gradients are taken meanwhile; None for those that the options name.

        Returns:
            The number, which is from now on that of ``options``.
        """
        self.options, told = with_batch_size(self.options, subject, passages, sites)
        self.told |= told
        self.clock.lap("batch_size")
        return self.options.batch_size


def _tell_rule(subject: Subject) -> None:
    rule = rule_of(subject)
    if rule != "true":
        _logger.warning(
            "Gradients go back by the experimental rule %s, which was proven on this model; they "
            "are not the derivative.",
            rule,
        )


def _tell_rest(options: CorpusOptions) -> None:
    source = options.dataset.source if isinstance(options.dataset, Given) else None
    num_samples = most_samples(options.num_samples)
    if isinstance(source, (list, tuple)) and len(source) > num_samples:
        _logger.info(
            "Of %s rows in memory the first %s that count are measured (num_samples).",
            f"{len(source):,}",
            f"{num_samples:,}",
        )


def is_other_text(options: Any, before: Mapping[str, Any]) -> bool:
    """Whether data in memory are not those that an earlier run measured."""
    if not isinstance(getattr(options, "dataset", None), Given):
        return False
    return before.get("rows_sha256") != corpus_rows(options).fingerprint()
