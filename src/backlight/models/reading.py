"""What a model can read: which token ids, and how many of them in a row."""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from backlight.errors import ConfigError, DatasetError, ModelError, quoted
from backlight.models.subject import Subject
from backlight.models.wiring.families import family_of

_logger = logging.getLogger(__name__)

_PROBE = (1, 0)  # not in the order of positions, so that the two kinds of embeddings differ


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What a model can read.

    Attributes:
        vocabulary: Token ids are 0 to one below this; None if that is not known.
        positions: The longest sequence, None if positions have no end or it is not known.
    """

    vocabulary: int | None = None
    positions: int | None = None


def reach_of(subject: Subject) -> Reach:
    """Find what a model can read, by showing it two tokens.

    An embedding that sees these tokens is the input's, whose rows are the vocabulary; one that sees
    numbers in a row is of learned positions. A head with fewer rows cannot predict the others.

    Args:
        subject: The model.

    Returns:
        Its limits.

    Raises:
        ModelError: If it cannot even read the tokens 0 and 1.
    """
    tokens: list[int] = []
    positions: list[int] = []

    def look(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        assert isinstance(module, nn.Embedding)
        if inputs and isinstance(inputs[0], Tensor) and inputs[0].numel() == len(_PROBE):
            first, second = inputs[0].flatten().tolist()
            if (first, second) == _PROBE:
                tokens.append(module.num_embeddings)
            elif second == first + 1:  # OPT counts positions from 2
                positions.append(module.num_embeddings - first)

    embeddings = (part for part in subject.model.modules() if isinstance(part, nn.Embedding))
    with ExitStack() as stack, torch.no_grad():
        for part in embeddings:
            stack.callback(part.register_forward_pre_hook(look).remove)
        try:
            output = subject.forward(torch.tensor([_PROBE], device=subject.device))
        except IndexError as error:
            raise ModelError(
                f"{subject.name} cannot read the tokens 0 and 1: {quoted(str(error))}. Is its "
                "vocabulary empty?"
            ) from error
    predicted = output.shape[-1] if subject.head is None else subject.head.weight.shape[0]
    longest = min(positions, default=None)
    if subject.max_positions is not None:
        longest = subject.max_positions
    return Reach(vocabulary=min([*tokens, int(predicted)]), positions=longest)


def refuse_unreadable(
    subject: Subject, tokens: Sequence[Int[np.ndarray, " _"]], *, kind: str, remedy: str
) -> None:
    """Refuse sequences of tokens that a model cannot read, before it sees any of them.

    On a GPU a token that does not exist ends the whole process, and where a model looks up its
    embedding by itself a negative id reads another token's.

    Args:
        subject: The model.
        tokens: The token ids of each sequence.
        kind: What a sequence is called: a passage, a prompt.
        remedy: What to do if one is too long.

    Raises:
        DatasetError: If there is a token id that the model has not.
        ConfigError: If a sequence is longer than it reads.
    """
    reach = reach_of(subject)
    for number, ids in enumerate(tokens):
        if len(ids):
            _refuse_foreign(subject, ids, f"{kind.capitalize()} {number}", reach.vocabulary)
    longest = max(tokens, key=len)
    if reach.positions is not None and len(longest) > reach.positions:
        raise ConfigError(
            f"{subject.name} reads at most {reach.positions} tokens, but there are {kind}s of "
            f"{len(longest)}; {remedy}."
        )
    if reach.positions is None:
        _warn_beyond_training(subject, len(longest), kind)
        if family_of(subject.model) is None:
            refuse_too_long(subject, longest, kind=kind, remedy=remedy)


def _refuse_foreign(
    subject: Subject, ids: Int[np.ndarray, " _"], where: str, vocabulary: int | None
) -> None:
    least, most = int(ids.min()), int(ids.max())
    if least < 0:
        raise DatasetError(
            f"{where} has the token id {least}; ids begin at 0. Labels that mask tokens "
            "(-100) are no text."
        )
    if vocabulary is not None and most >= vocabulary:
        raise DatasetError(
            f"{where} has the token id {most}{_spelled(subject, most)}, but {subject.name} "
            f"has {vocabulary} tokens, 0 to {vocabulary - 1}: the tokenizer is of another model, "
            "or tokens were added to it without model.resize_token_embeddings(len(tokenizer))."
        )


def _spelled(subject: Subject, token: int) -> str:
    try:
        return f" ({quoted(subject.tokenizer.decode([token]))})"
    except (LookupError, TypeError, ValueError, OverflowError):  # an id that the tokenizer has not
        return ""


def _warn_beyond_training(subject: Subject, longest: int, kind: str) -> None:
    config: object = getattr(subject.model, "config", None)  # any Transformers model has one
    declared = getattr(config, "max_position_embeddings", None)
    if isinstance(declared, int) and longest > declared:
        _logger.warning(
            "There is a %s of %s tokens, but the config of %s has %s positions: beyond them "
            "the model was never trained.",
            kind,
            longest,
            subject.name,
            declared,
        )


def refuse_too_long(
    subject: Subject, ids: Int[np.ndarray, " _"], *, kind: str, remedy: str
) -> None:
    """Run a model that nobody knows on the longest sequence, before anything is measured.

    Args:
        subject: The model.
        ids: The token ids of the sequence.
        kind: What a sequence is called: a passage, a prompt.
        remedy: What to do if it is too long.

    Raises:
        ConfigError: If the model fails on it.
    """
    try:
        with torch.no_grad():
            subject.forward(torch.from_numpy(ids)[None].to(subject.device))
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, IndexError, ValueError, AssertionError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(
            f"{subject.name} cannot read a {kind} of {len(ids)} tokens "
            f"({quoted(reason)}); {remedy}."
        ) from error
