"""Conversations as the tokens that a model sees, and which of these the loss counts.

The tokens are always those of the whole text, tokenized in one piece; which of them count is found
on the side. Of a pair, those after the tokens of the prompt alone, if these are the first tokens of
the whole. Of a chat, what the template marks with ``{% generation %}``; else, turn by turn, those
between the chat up to the turn, with the header of an answer, and the chat up to its end, if both
are beginnings of the whole chat, letter by letter and token by token.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast, final, runtime_checkable

import numpy as np
from jinja2 import TemplateError
from numpy.typing import NDArray

from backlight.data.batches import Passages
from backlight.data.conversations import ASSISTANT, Chat, Conversation, Conversations, Pair
from backlight.data.encoding import CutsText
from backlight.errors import DatasetError

_REASONS: Mapping[str, str] = {
    "no_completion": "have no completion",
    "completion_cut_off": "have it behind the cut",
    "boundary_in_token": "have one that begins or ends within a token",
}
_MARKED = re.compile(r"\{%-?\s*generation\s*-?%\}")
_WHOLE = 2**31  # tokens: no text is as long
_Mask = NDArray[np.bool_]


@runtime_checkable
class WritesChats(CutsText, Protocol):
    """A tokenizer with a chat template: any of Transformers."""

    def apply_chat_template(self, conversation: Any, **settings: Any) -> Any:
        """Write a chat as a text, or as its tokens."""
        ...

    def get_chat_template(self, chat_template: str | None, tools: Any) -> str:
        """Return the template that is used."""
        ...


class _BoundaryInToken(Exception):  # noqa: N818 - such a row is left out and counted
    """A token has letters of a completion and of what is none."""


def tokenize_conversations(
    conversations: Conversations,
    tokenizer: CutsText,
    *,
    max_length: int,
    chat_template: str | None = None,
) -> Passages:
    """Turn conversations into passages of which some tokens count.

    Pairs are tokenized as one text, with special tokens as the tokenizer adds them and the end of
    text behind the completion, if the tokenizer has one: it counts too. Chats are what their
    template writes.

    Args:
        conversations: The conversations.
        tokenizer: The model's.
        max_length: The longest passage, in tokens.
        chat_template: A Jinja template in the place of the tokenizer's own.

    Returns:
        The passages in their order, and how many were left out: also those of which nothing that
        counts is left after the cut, or of which a token is of both kinds.

    Raises:
        DatasetError: If there are chats and no template, the template cannot write one of them, it
            writes beginnings of a chat that are none of the whole, or no passage is left.
    """
    writer = _Writer(tokenizer, chat_template)
    left_out: Counter[str] = Counter(conversations.left_out)
    tokens: list[NDArray[np.int64]] = []
    counted: list[_Mask] = []
    num_cut = 0
    for where, row in conversations.rows:
        try:
            ids, counts = writer.encoded(row, where)
        except _BoundaryInToken:
            left_out["boundary_in_token"] += 1
            continue
        if not counts[1:max_length].any():
            left_out["completion_cut_off" if counts[1:].any() else "no_completion"] += 1
            continue
        num_cut += len(ids) > max_length
        tokens.append(ids[:max_length])
        counted.append(counts[:max_length])
    if not tokens:
        raise DatasetError(_nothing(len(conversations.rows), left_out, max_length))
    return Passages(
        tokens=tokens,
        left_out=dict(left_out),
        num_cut=num_cut,
        num_unknown=_num_unknown(tokenizer, tokens),
        counted=counted,
        goes_on=conversations.goes_on,
    )


@final
class _Writer:
    """Writes conversations as tokens."""

    def __init__(self, tokenizer: CutsText, chat_template: str | None) -> None:
        self._tokenizer, self._template = tokenizer, chat_template
        self._end: str | None = getattr(tokenizer, "eos_token", None)
        self._end_id: int | None = getattr(tokenizer, "eos_token_id", None)

    def encoded(self, row: Conversation, where: str) -> tuple[NDArray[np.int64], _Mask]:
        """Return the tokens of a conversation, and which of them count."""
        if isinstance(row, Pair):
            ids, counts = self._pair(row)
        else:
            ids, counts = self._chat(row, where)
        return np.asarray(ids, dtype=np.int64), counts

    def _pair(self, pair: Pair) -> tuple[list[int], _Mask]:
        prompt, whole = self._ids(pair.prompt), f"{pair.prompt}{pair.completion}"
        if prompt and prompt[-1] == self._end_id and not pair.prompt.endswith(self._end or ""):
            prompt = prompt[:-1]  # which the tokenizer puts behind every text
        ids = self._ids(whole)
        if self._end is not None and (not ids or ids[-1] != self._end_id):
            ids = self._ids(f"{whole}{self._end}")
        _prove_beginning(prompt, ids)
        return ids, np.arange(len(ids)) >= len(prompt)

    def _chat(self, chat: Chat, where: str) -> tuple[list[int], _Mask]:
        tokenizer = _with_template(self._tokenizer, self._template)
        template = tokenizer.get_chat_template(self._template, chat.tools)
        if chat.num_prompt is None and _MARKED.search(template):
            return self._marked(tokenizer, chat, where)
        text = self._written(tokenizer, chat, len(chat.messages), where)
        ids = self._plain_ids(tokenizer, text)
        counts = np.zeros(len(ids), dtype=np.bool_)
        for first, behind in _spans(chat):
            begin = self._prefix(tokenizer, chat, first, text, ids, where, answers=True)
            last = behind == len(chat.messages)
            end = len(ids)
            if not last:
                end = self._prefix(tokenizer, chat, behind, text, ids, where)
            counts[begin:end] = True
        return ids, counts

    def _marked(self, tokenizer: WritesChats, chat: Chat, where: str) -> tuple[list[int], _Mask]:
        """Take the mask that the template's own marks give."""
        found = self._applied(
            tokenizer,
            chat,
            len(chat.messages),
            where,
            tokenize=True,
            return_dict=True,
            return_assistant_tokens_mask=True,
            truncation=True,
            max_length=_WHOLE,
        )
        return list(found["input_ids"]), np.asarray(found["assistant_masks"]) != 0

    def _prefix(
        self,
        tokenizer: WritesChats,
        chat: Chat,
        number: int,
        text: str,
        ids: Sequence[int],
        where: str,
        *,
        answers: bool = False,
    ) -> int:
        """Count the tokens of a chat's first turns, which must be the first of the whole."""
        part = self._written(tokenizer, chat, number, where, add_generation_prompt=answers)
        if not text.startswith(part):
            raise DatasetError(_no_beginning(where, number + answers, answers))
        beginning = self._plain_ids(tokenizer, part)
        _prove_beginning(beginning, ids)
        return len(beginning)

    def _written(
        self, tokenizer: WritesChats, chat: Chat, number: int, where: str, **settings: Any
    ) -> str:
        if not number:
            raise DatasetError(
                f"Turn 1 of {where} is the assistant's, and no template writes what is before it. "
                "Put a system's or a user's turn before it, or give a template that marks the "
                "assistant's turns with {% generation %}: --chat_template FILE."
            )
        return self._applied(tokenizer, chat, number, where, tokenize=False, **settings)

    def _applied(
        self, tokenizer: WritesChats, chat: Chat, number: int, where: str, **settings: Any
    ) -> Any:
        try:
            return tokenizer.apply_chat_template(
                list(chat.messages[:number]),
                tools=chat.tools,
                chat_template=self._template,
                **settings,
                **chat.settings,
            )
        except (TemplateError, TypeError, ValueError, KeyError) as error:
            raise DatasetError(
                f"The chat template cannot write the first {number} of {len(chat.messages)} turns "
                f"of {where}: {' '.join(str(error).split())[:200]}"
            ) from error

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer(text, truncation=True, max_length=_WHOLE)["input_ids"])

    def _plain_ids(self, tokenizer: WritesChats, text: str) -> list[int]:
        """Tokenize what a template wrote: it has the special tokens in it."""
        found = cast("Any", tokenizer)(
            text, add_special_tokens=False, truncation=True, max_length=_WHOLE
        )
        return list(found["input_ids"])


def _spans(chat: Chat) -> list[tuple[int, int]]:
    """List which turns count: the first of each run, and the one behind it."""
    if chat.num_prompt is not None:
        return [(chat.num_prompt, len(chat.messages))]
    return [
        (place, place + 1)
        for place, message in enumerate(chat.messages)
        if message["role"] == ASSISTANT
    ]


def _prove_beginning(beginning: Sequence[int], ids: Sequence[int]) -> None:
    if list(ids[: len(beginning)]) != list(beginning):
        raise _BoundaryInToken


def _with_template(tokenizer: CutsText, chat_template: str | None) -> WritesChats:
    has_own = getattr(tokenizer, "chat_template", None) is not None
    if not isinstance(tokenizer, WritesChats) or not (has_own or chat_template):
        raise DatasetError(
            "The dataset holds chats, and the model's tokenizer has no chat template, so there is "
            "no telling how their turns are written. Give one with --chat_template FILE (Jinja), "
            "or write prompt and completion as texts."
        )
    return tokenizer


def _no_beginning(where: str, turn: int, answers: bool) -> str:
    which = "before" if answers else "up to"
    return (
        f"The chat template writes the turns {which} turn {turn} of {where} in another way alone "
        "than within the whole chat (many drop or add reasoning), so where the assistant's turn "
        "begins and ends cannot be told. Give a template that marks it with {% generation %}: "
        "--chat_template FILE."
    )


def _nothing(num_rows: int, left_out: Mapping[str, int], max_length: int) -> str:
    told = ", ".join(f"{left_out[key]} {why}" for key, why in _REASONS.items() if key in left_out)
    hint = ""
    if "completion_cut_off" in left_out:
        hint = f" Raise --max_length (now {max_length})."
    elif "boundary_in_token" in left_out:
        hint = " White space between them belongs to the beginning of the completion."
    return f"No token of the {num_rows} conversations counts ({told}).{hint}"


def _num_unknown(tokenizer: CutsText, tokens: Sequence[NDArray[np.int64]]) -> int:
    unknown, *ends = (
        getattr(tokenizer, f"{name}_token_id", None) for name in ("unk", "bos", "eos")
    )
    if unknown is None or unknown in ends:
        return 0
    return sum(int(np.count_nonzero(ids == unknown)) for ids in tokens)
