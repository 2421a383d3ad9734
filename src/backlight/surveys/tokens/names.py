"""Names of columns and files that the doors of this room share."""

from collections.abc import Sequence

from backlight.models.sites import kind_of, layer_of
from backlight.objectives.prompts import Prompt

OF_EVERY_PROMPT = ("prompt", "text", "answer", "objective", "loss", "right", "num_tokens")
"""The first columns of the table of prompts; those of the values follow."""


def prompt_columns(prompts: Sequence[Prompt]) -> tuple[str, ...]:
    """Name the columns of the table of prompts: what prompts can be coloured by.

    Args:
        prompts: The prompts.

    Returns:
        The names; a value of the prompts that is called as another column is ``answer_value``.
    """
    return (*OF_EVERY_PROMPT, *value_columns(prompts))


def value_columns(prompts: Sequence[Prompt]) -> dict[str, str]:
    """Name the value that each of the further columns of the table of prompts holds."""
    names = dict.fromkeys(name for prompt in prompts for name in prompt.values)
    return {name if name not in OF_EVERY_PROMPT else f"{name}_value": name for name in names}


def key_of(site: str, position: str, first_kind: str) -> str:
    """Name what is written about a site and position, such as ``layer_3_comma``.

    Args:
        site: The site.
        position: The position.
        first_kind: The kind of site that is meant where a name tells none.

    Returns:
        The name, with the kind of site (``layer_3_mlp.out_comma``) if it is another.
    """
    layer, kind = layer_of(site), kind_of(site)
    if layer is None:
        return f"{site}_{position}"
    return f"layer_{layer}_{position}" if kind == first_kind else f"layer_{layer}_{kind}_{position}"
