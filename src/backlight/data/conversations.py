"""Texts of which only some parts count: pairs of a prompt and a completion, and chats."""

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any, TypeAlias, cast, final

from backlight.data.tabular import read_table
from backlight.errors import DatasetError, quoted

Message: TypeAlias = Mapping[str, Any]
"""A turn of a chat: its ``role``, its ``content``, and what else its template may read."""

ASSISTANT = "assistant"
"""The role whose turns count."""

_KNOWN = (("prompt", "completion"), ("messages",), ("conversations",))
_TOOLS, _SETTINGS = "tools", "chat_template_kwargs"
_ROLES = {"human": "user", "gpt": ASSISTANT}  # as ShareGPT writes them
_NUM_NAMED = 12


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A text, and what follows it, which counts."""

    prompt: str
    completion: str

    @property
    def has_completion(self) -> bool:
        """Whether anything could count."""
        return bool(self.completion.strip())

    @property
    def num_characters(self) -> int:
        """How long it is, without the white space around it."""
        return len(f"{self.prompt}{self.completion}".strip())


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """A chat, of which the assistant's turns count, or all that follows a prompt.

    Attributes:
        messages: The turns.
        num_prompt: How many of them are the prompt; None where the assistant's turns count.
        tools: What the assistant may call, for the template.
        settings: What else the template is given.
    """

    messages: Sequence[Message]
    num_prompt: int | None = None
    tools: Sequence[Any] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def has_completion(self) -> bool:
        """Whether anything could count."""
        if self.num_prompt is not None:
            return len(self.messages) > self.num_prompt
        return any(message["role"] == ASSISTANT for message in self.messages)

    @property
    def num_characters(self) -> int:
        """How long its texts are together."""
        contents = [message.get("content") for message in self.messages]
        return sum(len(text.strip()) for text in contents if isinstance(text, str))


Conversation: TypeAlias = Pair | Chat
"""A text of which some parts count."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Conversations:
    """Conversations that were read, and how many rows were none.

    Attributes:
        rows: Each with where it stands, for messages.
        left_out: How many rows did not count, by reason: ``no_completion``, ``too_short``.
        goes_on: There are more behind them, if that was looked for.
    """

    rows: Sequence[tuple[str, Conversation]]
    left_out: Mapping[str, int] = field(default_factory=dict[str, int])
    goes_on: bool = False

    def fingerprint(self) -> str:
        """Hash all of them, so that two corpora can be told apart before there are tokens."""
        digest = hashlib.sha256()
        for _, row in self.rows:
            content = json.dumps(asdict(row), sort_keys=True, default=repr).encode()
            digest.update(len(content).to_bytes(8, "little") + content)
        return digest.hexdigest()


def read_conversations(
    dataset: str,
    *,
    columns: Sequence[str] = (),
    split: str = "train",
    min_characters: int = 0,
    num_samples: int,
    looks_on: bool = False,
) -> Conversations:
    """Read the first conversations of a dataset.

    Args:
        dataset: See ``read_table``.
        columns: The columns of the prompt and of the completion, or the one with chats; none for
            ``prompt`` and ``completion``, else ``messages``, else ``conversations``.
        split: The split of a dataset that has some.
        min_characters: A row counts if it has more than these.
        num_samples: How many to read; fewer if there are fewer.
        looks_on: Look whether there is another one behind them.

    Returns:
        The conversations, and how many rows before the last of them were left out.

    Raises:
        DatasetError: If it cannot be read, has no such columns, or no row counts.

    Examples:
        >>> from backlight.data.given import Given
        >>> rows = [{"prompt": "2 + 2 =", "completion": " 4"}, {"prompt": "No", "completion": ""}]
        >>> found = read_conversations(Given(rows), num_samples=2)
        >>> found.rows[0][1].completion, found.left_out
        (' 4', {'no_completion': 1})
    """
    known = [tuple(columns)] if columns else list(_KNOWN)
    wanted = dict.fromkeys([*(name for names in known for name in names), _TOOLS, _SETTINGS])
    left_out: Counter[str] = Counter()
    seen = Counter[str]()

    def counting() -> Iterator[tuple[str, Conversation]]:
        for where, record in read_table(dataset, wanted, split=split):
            seen["rows"] += 1
            row = conversation_of(record, known, where)
            _refuse_half_characters(row, where)
            reason = _reason(row, min_characters)
            if reason is None:
                yield where, row
            else:
                left_out[reason] += 1

    counted = counting()
    rows = list(islice(counted, min(num_samples, sys.maxsize)))
    if not rows:
        _refuse_none(dataset, seen["rows"], left_out)
    found = dict(left_out)
    goes_on = looks_on and next(counted, None) is not None
    return Conversations(rows=rows, left_out=found, goes_on=goes_on)


def conversation_of(
    record: Mapping[str, Any], known: Sequence[Sequence[str]], where: str
) -> Conversation:
    """Find the conversation that a row of a table holds.

    Args:
        record: The row.
        known: Columns that are looked for, the first first: those of a prompt and of a completion,
            or one of chats.
        where: Where it stands, for messages.

    Returns:
        The conversation.

    Raises:
        DatasetError: If it has no such columns, or they hold something else.
    """
    names = next((each for each in known if all(name in record for name in each)), None)
    if names is None:
        raise DatasetError(_lacking(record, known, where))
    if len(names) == 1:
        return _chat(_messages(record[names[0]], f"{quoted(names[0])} in {where}"), None, record)
    prompt, completion = (_plain(record[name]) for name in names)
    if not isinstance(prompt, list) and not isinstance(completion, list):
        return Pair(
            prompt=_text(prompt, f"{quoted(names[0])} in {where}"),
            completion=_text(completion, f"{quoted(names[1])} in {where}"),
        )
    before = _messages(prompt, f"{quoted(names[0])} in {where}")
    after = _messages(completion, f"{quoted(names[1])} in {where}")
    return _chat([*before, *after], len(before), record)


def _chat(messages: list[Message], num_prompt: int | None, record: Mapping[str, Any]) -> Chat:
    tools = _plain(record.get(_TOOLS))
    return Chat(
        messages=messages,
        num_prompt=num_prompt,
        tools=json.loads(tools) if isinstance(tools, str) and tools.strip() else tools or None,
        settings=_plain(record.get(_SETTINGS)) or {},
    )


def _text(value: object, where: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DatasetError(f"The column {where} holds {type(value).__name__}, not text.")
    return value


def _messages(value: object, where: str) -> list[Message]:
    turns = _plain(value)
    if turns is None:
        return []
    if not isinstance(turns, list):
        raise DatasetError(
            f"The column {where} holds {type(turns).__name__}, not a list of turns, each with a "
            "role and a content."
        )
    found: list[Message] = []
    for number, turn in enumerate(cast("list[object]", turns), start=1):
        named = _named(turn)
        if not isinstance(named.get("role"), str):
            raise DatasetError(
                f"Turn {number} of the column {where} has no role: a turn is written "
                '{"role": "user", "content": "..."}, or with "from" and "value".'
            )
        found.append(named)
    return found


def _named(turn: object) -> dict[str, Any]:
    """Give a turn the names that templates know, also where it is written as in ShareGPT."""
    if not isinstance(turn, Mapping):
        return {}
    fields = {str(key): value for key, value in cast("Mapping[Any, Any]", turn).items()}
    if "role" not in fields and "from" in fields:
        role = fields.pop("from")
        fields["role"] = _ROLES.get(role, role) if isinstance(role, str) else role
    if "content" not in fields and "value" in fields:
        fields["content"] = fields.pop("value")
    return fields


def _plain(value: Any) -> Any:
    """Make lists and mappings of what tables hold, without the nulls that they fill up with."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float) and value != value:  # the null of pandas
        return None
    if isinstance(value, Mapping):
        fields = cast("Mapping[Any, Any]", value).items()
        return {key: _plain(each) for key, each in fields if each is not None}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in cast("Iterable[Any]", value)]
    return value


def _reason(row: Conversation, min_characters: int) -> str | None:
    if not row.has_completion:
        return "no_completion"
    is_short = bool(min_characters) and row.num_characters <= min_characters
    return "too_short" if is_short else None


def _refuse_half_characters(row: Conversation, where: str) -> None:
    try:
        json.dumps(asdict(row), ensure_ascii=False, default=repr).encode()
    except UnicodeEncodeError as error:
        raise DatasetError(
            f"{where[0].upper()}{where[1:]} holds half a character (the lone surrogate "
            f"U+{ord(str(error.object)[error.start]):04X}), which is no text; repair it."
        ) from error


def _lacking(record: Mapping[str, Any], known: Sequence[Sequence[str]], where: str) -> str:
    wanted = ", or ".join(" and ".join(map(quoted, names)) for names in known)
    names = list(record)
    told = ", ".join(map(quoted, names[:_NUM_NAMED])) or "none"
    more = f", and {len(names) - _NUM_NAMED} more" if len(names) > _NUM_NAMED else ""
    return (
        f"With --loss_on completion the columns {wanted} are looked for, and in {where} are "
        f"{told[:400]}{more}. Name the two columns of prompt and completion, or the one of chats, "
        "with --completion_columns."
    )


def _refuse_none(dataset: str, num_rows: int, left_out: Mapping[str, int]) -> None:
    name = quoted(dataset)
    if not num_rows:
        raise DatasetError(f"The dataset {name} is empty: it has no rows.")
    raise DatasetError(
        f"None of the {num_rows} rows of {name} has a completion that counts "
        f"({left_out['no_completion']} have none, {left_out['too_short']} are too short; see "
        "--min_characters)."
    )
