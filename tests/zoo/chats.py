"""Chats, templates that write them, and tokenizers that have one."""

from zoo.offsets import bpe_tokenizer, byte_tokenizer

PLAIN = (
    "{% for message in messages %}<{{ message['role'] }}>\n{{ message['content'] }}<end>\n"
    "{% endfor %}{% if add_generation_prompt %}<assistant>\n{% endif %}"
)
"""Like ChatML: a header, what is said, an end."""

MARKED = (
    "{% for message in messages %}<{{ message['role'] }}>\n"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] }}<end>\n{% endgeneration %}"
    "{% else %}{{ message['content'] }}<end>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>\n{% endif %}"
)
"""The same text, with the assistant's turns marked."""

FORGETFUL = (
    "{% for message in messages %}<{{ message['role'] }}>\n"
    "{% if message['role'] == 'assistant' and loop.last %}<think></think>{% endif %}"
    "{{ message['content'] }}<end>\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>\n{% endif %}"
)
"""As reasoning models do: only the last answer is written with its reasoning."""


def turn(role, content):
    return {"role": role, "content": content}


def chat(*contents):
    """A chat in which user and assistant take turns."""
    roles = ("user", "assistant")
    return [turn(roles[place % 2], content) for place, content in enumerate(contents)]


def spans_of(messages):
    """Write a chat as ``PLAIN`` does, and list which letters are an assistant's turn."""
    text, counted = "", []
    for message in messages:
        header, said = f"<{message['role']}>\n", f"{message['content']}<end>\n"
        text += header + said
        counted += [False] * len(header) + [message["role"] == "assistant"] * len(said)
    return text, counted


def with_template(template=PLAIN, *, merges=None):
    """A tokenizer of bytes, or of a byte-level BPE, with a chat template."""
    made = byte_tokenizer() if merges is None else bpe_tokenizer(merges=merges)
    made.chat_template = template
    return made
