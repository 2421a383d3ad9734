"""What a command says when it is done, on one screen: sentences, small tables, where it went."""

from collections.abc import Iterable, Sequence
from typing import Any

from rich.text import Text

from backlight.errors import ConfigError
from backlight.foreign.text import plain
from backlight.runs.results import Results
from backlight.surveys.driver.words.lines import height, print_lines, wrapped
from backlight.surveys.driver.words.parts import fitted
from backlight.surveys.driver.words.printing import Shown, print_shown
from backlight.surveys.driver.words.sentences import count

NUM_LINES = 24
"""Lines of a screen."""


def refuse_contradiction(options: Any) -> None:
    """Refuse options that ask for whole tables and for nothing, both.

    Args:
        options: The options of a command.

    Raises:
        ConfigError: If they do.
    """
    if options.table and options.quiet:
        raise ConfigError("--table and --quiet exclude each other: print all, or the path alone.")


def refuse_table(options: Any) -> None:
    """Refuse to print tables for a caller in Python, for whom nothing is printed.

    Args:
        options: The options of a call.

    Raises:
        ConfigError: If they ask for it.
    """
    if options.table:
        raise ConfigError(
            "table prints whole tables on the command line; in Python they are in results.tables."
        )


def print_results(
    options: Any,
    results: Results,
    *,
    summary: Sequence[str],
    brief: Iterable[Shown | str],
    tables: Iterable[Shown | str],
    places: Sequence[str],
) -> None:
    """Print what was found and where it went, as much of it as the options ask for.

    Args:
        options: The options of the run.
        results: What was found.
        summary: It in sentences.
        brief: What matters most; as many rows of it are shown as a screen has room for.
        tables: The whole tables; not looked at unless they are asked for.
        places: The lines that say where it went.
    """
    if options.quiet:
        print_lines([] if results.path is None else [Text(plain(results.path))])
    elif options.table:
        print_lines([*wrapped(summary), Text()])
        print_shown(tables)
        print_lines([Text(), *map(Text, places)] if places else [])
    else:
        print_lines(screen(summary, brief, places))


def screen(
    summary: Sequence[str], brief: Iterable[Shown | str], places: Sequence[str]
) -> list[Text]:
    """Lay out a screen.

    Args:
        summary: What was found, in sentences.
        brief: Small tables and sentences, of which empty ones are left out; so are rows that there
            is no room for, then the last tables, and it is said how many.
        places: Where it went.

    Returns:
        At most 24 lines, if the sentences leave room; a command may be broken into several.
    """
    told, end = [*wrapped(summary), Text()], list(map(Text, places))
    lines = [*told, *fitted(brief, NUM_LINES - len(told) - sum(map(height, end))), *end]
    return lines if lines[-1].plain else lines[:-1]


def first_of(sentences: Sequence[str], num_lines: int) -> list[str]:
    """Keep the first of some sentences, and say how many more there are.

    Args:
        sentences: All of them.
        num_lines: How many lines there are for them.

    Returns:
        Those that fit; all, if all do.
    """
    heights = [len(wrapped([each])) for each in sentences]
    if sum(heights) <= num_lines:
        return list(sentences)
    fit = [sum(heights[: number + 1]) < num_lines for number in range(len(heights))].index(False)
    more = count(len(sentences) - fit, "more sentence")
    return [*sentences[:fit], f"... and {more} with --table."]
