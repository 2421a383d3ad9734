"""What a comparison found, in three sentences."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from backlight.runs.results import Results
from backlight.surveys.comparison.names import KINDS, PAIRED, told_of_pairs
from backlight.surveys.comparison.printed.series import series_summary
from backlight.surveys.driver.words.sentences import count, name, number
from backlight.tables import Table

_SURENESS = (("q", 2), ("t", 3), ("effect_size", 2))  # columns, and how many digits are told


def summary(results: Results) -> Sequence[str]:
    """Describe what was compared, how much of it surely differs, and what most of all.

    Args:
        results: What was found, also if it was read back from disk.

    Returns:
        At most three sentences.
    """
    about = results.metadata
    if "series" in about:
        return series_summary(results)
    if not about["num_compared"]:
        return [_asked(about), "Their numbers are the same everywhere: there is nothing to test."]
    return [_asked(about), _found(about, results.tables["layers"]), *_surest(results)]


def _asked(about: Mapping[str, Any]) -> str:
    runs = " and ".join(f"{each} = {_run(about[each])}" for each in "ab")
    if list(about["errors"]) == [PAIRED]:
        errors = told_of_pairs("both", about)
    elif about["same_passages"]:
        errors = (
            "both read the same passages, but keep no groups of them, so errors are as of "
            "different ones, and differences look less sure than they are"
        )
    else:
        errors = "errors are clustered by passage (Welch's t)"
    return f"Two runs of `backlight {about['compared']}` were compared, {runs}; {errors}."


def _run(about: Mapping[str, Any]) -> str:
    told = [about.get("model_name"), about.get("dataset")]
    words = ", ".join(name(each) for each in told if each)
    return f"{name(about['label'])} ({words})" if words else name(about["label"])


def _found(about: Mapping[str, Any], layers: Table) -> str:
    kinds = dict.fromkeys(str(kind) for kind in layers["kind"])
    what = ", ".join(KINDS[kind] for kind in kinds)
    missing = f"; only in one run: {'; '.join(map(name, about['left_out']))}"
    agreement = layers["rank_agreement"]
    known = agreement[~np.isnan(agreement)]
    ranks = f", ranks agree with {number(float(np.median(known)), 2)} in the median layer"
    return (
        f"Of {count(int(about['num_compared']), 'number')} of {what}, {int(about['num_sure']):,} "
        f"surely differ (false discovery rate {about['q']:g}): "
        f"{int(layers['num_higher_a'].sum()):,} are higher in a, "
        f"{int(layers['num_higher_b'].sum()):,} in b{ranks * bool(len(known))}"
        f"{missing * bool(about['left_out'])}."
    )


def _surest(results: Results) -> list[str]:
    table = results.tables["differences"]
    sure = np.flatnonzero(table["higher_in"] != "")
    if not len(sure):
        return ["No single difference is more than chance among so many."]
    row = int(sure[0])  # they are in order
    layer = table["layer"][row]
    where = "" if layer != layer else f" of layer {int(layer)}"
    index, called = int(table["index"][row]), str(table["name"][row])
    which = " ".join([*([name(called)] if called else []), *([str(index)] if index >= 0 else [])])
    q, t, effect = (number(float(table[column][row]), digits) for column, digits in _SURENESS)
    more = "higher" if table["difference"][row] > 0 else "lower"
    return [
        f"The surest is {table['kind'][row]} {which}{where}, {table['statistic'][row]} "
        f"{more} in a than in b (q = {q}, t = {t}, effect size {effect})."
    ]
