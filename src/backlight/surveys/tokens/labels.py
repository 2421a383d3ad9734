"""What is written below the columns of prompts, and the sentences that explain it."""

from backlight.foreign.text import visible
from backlight.tables import Table


def label_of(token: str, position: str) -> str:
    """Write what stands in a column: a token with its blanks, or the name of a field.

    Args:
        token: The token where all prompts have the same one, else ``X`` or the field's name.
        position: The name of the column.

    Returns:
        The label; of ``country first`` in two lines.
    """
    if token == position:
        return visible(token, blanks=False)
    if token == _in_words(position):
        return visible(token, blanks=False).replace(" ", "\n")
    return visible(token)


def explain_labels(table: Table, num_prompts: int) -> list[str]:
    """Explain the labels of columns, and say which columns only some prompts have.

    Args:
        table: Columns ``token``, ``position`` and ``num_prompts``.
        num_prompts: How many prompts there are.

    Returns:
        Sentences, where any are needed.
    """
    pairs = dict(zip(table["position"].tolist(), table["token"].tolist(), strict=True))
    signs: list[str] = []
    if any("·" in label_of(token, name) and "·" not in token for name, token in pairs.items()):
        signs.append("· is a blank")
    if "X" in pairs.values():
        signs.append("X is any digit")
    if any(token in (name, _in_words(name)) for name, token in pairs.items()):
        signs.append("where prompts differ, the name of the field stands for its token")
    if any(name.endswith("_middle") and token == _in_words(name) for name, token in pairs.items()):
        signs.append("middle is the mean over all tokens between a field's first and last")
    lines = [f"Tokens: {'; '.join(signs)}."] if signs else []
    counts = dict(zip(table["position"].tolist(), table["num_prompts"].tolist(), strict=True))
    rare = [f"{name} ({count:,})" for name, count in counts.items() if count < num_prompts]
    if rare:
        more = f" and {len(rare) - 6} more" if len(rare) > 6 else ""
        told = ", ".join(rare[:6])
        lines.append(f"Only some prompts have these positions (so many): {told}{more}.")
    return lines


def _in_words(position: str) -> str:
    return " ".join(position.rsplit("_", 1))
