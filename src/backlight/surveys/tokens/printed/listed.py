"""The positions of some prompts, as they are listed without measuring anything."""

from collections.abc import Iterator

import numpy as np

from backlight.errors import quoted
from backlight.surveys.driver.clock import Clock
from backlight.surveys.driver.words.printing import Column, Shown
from backlight.surveys.tokens.options import TokensConfig
from backlight.tables import Table


def listed(options: TokensConfig) -> Iterator[Shown]:
    """Show the positions of the prompts that the options ask for, with all their names.

    Args:
        options: The options.

    Yields:
        The table of positions.
    """
    # Listing positions takes a tokenizer, so it takes the model.
    from backlight.surveys.driver.material.opening import Opening
    from backlight.surveys.tokens.measure.setup import open_prompts

    found, _ = open_prompts(options, Opening(options, None, Clock()))
    grid, prompts = found.grid, found.prompts
    columns = {
        "column": np.arange(len(grid.positions)),
        "position": np.array([each.name for each in grid.positions]),
        "token": np.array(
            [quoted(each.label) if each.part == "token" else each.label for each in grid.positions]
        ),
        "prompts": np.array([str(count) for count in (grid.counts > 0).sum(axis=0)]),
        "also called": np.array([", ".join(each.other_names) for each in grid.positions]),
    }
    yield Shown(
        table=Table(name="positions", columns=columns),
        columns=[Column(name, name, wraps=name == "also called") for name in columns],
        title=f"Positions of {len(prompts)} prompts",
        caption=f"For example {quoted(prompts[0].text)}",
    )
