"""What a validation found, in three sentences."""

from collections.abc import Iterator, Sequence

from backlight.runs.results import Results
from backlight.surveys.driver.words.sentences import count, name, number, share
from backlight.surveys.validation.names import (
    CARE,
    NOT_TRUSTED,
    TRUSTED,
    UNTOLD,
)
from backlight.surveys.validation.options import ABLATIONS, KINDS
from backlight.tables import Table

_TOLD = {
    TRUSTED: "trust the ranking",
    CARE: "read the ranking with care",
    NOT_TRUSTED: "do not trust it (not trustworthy); the measured truth is in the table",
    UNTOLD: "too few were tested to tell",
}


def summary(results: Results) -> Sequence[str]:
    """Describe what was tested, what can be trusted, and what tells it beforehand.

    Args:
        results: What was found, also if it was read back from disk.

    Returns:
        At most three sentences.
    """
    told = [_asked(results)]
    if results.tables["units"].num_rows:
        told.append(" ".join(verdicts(results)))
        told += _warning(results.tables["warning"], results.metadata["likely_wrong_above"])
    return told


def verdicts(results: Results) -> Iterator[str]:
    """Say of each kind of unit whether its numbers can be trusted.

    Args:
        results: What was found.

    Yields:
        A sentence for each kind.
    """
    table = results.tables["agreement"]
    first = results.metadata["ablations"][0]
    for row in range(table.num_rows):
        if table["layers"][row] == "all" and table["ablation"][row] == first:
            told = _TOLD[str(table["verdict"][row])]
            kind = KINDS[str(table["kind"][row])]
            yield f"{kind[0].upper()}{kind[1:]}: {told}{_numbers(table, row)}."


def _numbers(table: Table, row: int) -> str:
    tested = int(table["num_units"][row])
    if table["sign_agreement"][row] != table["sign_agreement"][row]:
        return f" ({count(tested, 'unit')})"
    low, high = (100 * table[f"sign_agreement_{end}"][row] for end in ("low", "high"))
    return (
        f" (signs agree in {share(table['sign_agreement'][row])} [{number(low, 2)}, "
        f"{number(high, 2)}] of {tested}, rank correlation {number(table['spearman'][row], 2)})"
    )


def _asked(results: Results) -> str:
    about = results.metadata
    ways = [ABLATIONS[each] for each in about["ablations"]]
    counted = " (the loss counts completions alone)" * ("num_counted" in about)
    return (
        f"{count(int(about['num_tested']), 'unit')} of a run of `backlight {about['validated']}` "
        f"of {name(about['model_name'])} were {', or '.join(ways)} one by one in "
        f"{count(int(about['num_passages']), 'passage')}{counted}, to hold what happens against "
        "what the gradient predicts."
    )


def _warning(table: Table, threshold: float) -> list[str]:
    (row,) = (row for row in range(table.num_rows) if table["kind"][row] == "all")
    if table["area"][row] != table["area"][row]:
        return []
    return [
        f"The warning index tells wrong from right (AUC {number(table['area'][row], 2)} "
        f"[{number(table['area_low'][row], 2)}, {number(table['area_high'][row], 2)}]): above "
        f"{threshold:g} are {share(table['flagged_wrong'][row])} of the wrong and "
        f"{share(table['flagged_right'][row])} of the right predictions."
    ]
