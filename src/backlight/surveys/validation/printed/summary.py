"""What a validation found, in three sentences."""

from collections.abc import Iterator, Sequence

import numpy as np

from backlight.runs.results import Results
from backlight.surveys.driver.words.sentences import count, name, number, share
from backlight.surveys.validation.names import (
    CARE,
    CHANCE_AREA,
    LEAST_UNITS,
    NOT_TRUSTED,
    TRUSTED,
    UNTOLD,
)
from backlight.surveys.validation.options import ABLATIONS, KINDS
from backlight.tables import Table

_WORDS = {
    TRUSTED: "trust the ranking",
    CARE: "read the ranking with care",
    NOT_TRUSTED: "do not trust it (not trustworthy)",
    UNTOLD: "too few were tested to tell",
}


def summary(results: Results) -> Sequence[str]:
    """Describe what was tested, what can be trusted, and what tells it beforehand.

    Args:
        results: What was found, also if it was read back from disk.

    Returns:
        Three sentences.
    """
    return [
        _asked(results),
        " ".join(verdicts(results)),
        _warning(results.tables["warning"], results.metadata["likely_wrong_above"]),
    ]


def verdicts(results: Results) -> Iterator[str]:
    """Say of each kind of unit whether its numbers can be trusted.

    Args:
        results: What was found.

    Yields:
        A sentence for each kind; where ablations differ, each has its part of it.
    """
    table = results.tables["agreement"]
    whole = table.select(table["layers"] == "all")
    several = len(results.metadata["ablations"]) > 1
    for kind in dict.fromkeys(whole["kind"].tolist()):
        rows = np.flatnonzero(whole["kind"] == kind).tolist()
        parts = [
            f"{whole['ablation'][row]}: " * several
            + _told(kind, str(whole["verdict"][row]))
            + _numbers(whole, row)
            for row in rows
        ]
        words = KINDS[str(kind)]
        yield f"{words[0].upper()}{words[1:]}: {'; '.join(parts)}."


def _told(kind: str, judged: str) -> str:
    truth = "; the measured truth is in the table" * (kind == "site" and judged == NOT_TRUSTED)
    return f"{_WORDS[judged]}{truth}"


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
    counted = ", of which the loss counts completions alone" * ("num_counted" in about)
    texts = "prompt" if about["validated"] == "tokens" else "passage"
    one_by_one = "was {}" if about["num_tested"] == 1 else "were {} one by one"
    rule = f" by the rule {about['backward']}" if about.get("backward", "true") != "true" else ""
    return (
        f"{count(int(about['num_tested']), 'unit')} of a run of `backlight {about['validated']}` "
        f"of {name(about['model_name'])} {one_by_one.format(', or '.join(ways))} in "
        f"{count(int(about['num_passages']), texts)} ({count(int(about['num_tokens']), 'token')}"
        f"{counted}), to compare what happens with what the gradient{rule} predicts there."
    )


def _warning(table: Table, threshold: float) -> str:
    (row,) = (row for row in range(table.num_rows) if table["kind"][row] == "all")
    wrong, right = int(table["num_wrong"][row]), int(table["num_right"][row])
    if min(wrong, right) < LEAST_UNITS:
        return (
            f"Of these predictions {wrong} are wrong and {right} right: too few of one to test the "
            "warning index."
        )
    tells = table["area_low"][row] > CHANCE_AREA
    return (
        f"The warning index {'tells' if tells else 'does not surely tell'} wrong from right here "
        f"(AUC {number(table['area'][row], 2)} [{number(table['area_low'][row], 2)}, "
        f"{number(table['area_high'][row], 2)}]): above {threshold:g} are "
        f"{share(table['flagged_wrong'][row])} of the wrong and "
        f"{share(table['flagged_right'][row])} of the right predictions."
    )
