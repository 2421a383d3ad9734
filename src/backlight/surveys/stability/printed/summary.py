"""How stable a run is, in three sentences."""

from collections.abc import Sequence

import numpy as np

from backlight.runs.results import Results
from backlight.surveys.driver.words.sentences import count, name, number


def summary(results: Results) -> Sequence[str]:
    """Describe what was split, how well halves agree, and how many passages would be enough.

    Args:
        results: What was found, also if it was read back from disk.

    Returns:
        At most three sentences.
    """
    about, layers = results.metadata, results.tables["layers"]
    passages = count(int(layers["num_passages"].max()), "passage")
    told = [
        f"A run of `backlight {about['split']}` of {name(about['model_name'])} "
        f"({name(about['run']['label'])}) was split into random halves of its {passages}, "
        f"{about['num_splits']:,} times."
    ]
    known = np.flatnonzero(~np.isnan(layers["half_agreement"]))
    if not len(known):
        return [*told, "The rankings of the halves cannot be compared: the numbers do not vary."]
    values = layers["half_agreement"][known]
    least = int(known[np.argmin(values)])
    statistics = list(dict.fromkeys(layers["statistic"].tolist()))
    of_all = f" of {' and '.join(statistics)}" if len(statistics) > 1 else ""

    def place(row: int) -> str:
        of_one = f" of {layers['statistic'][row]}" if of_all else ""
        return f"layer {int(layers['layer'][row])}{of_one}"

    told.append(
        f"Ranks of the halves agree with {number(float(np.median(values)), 2)} in the median "
        f"layer{of_all}, and least in {place(least)} "
        f"({number(float(values.min()), 2)})."
    )
    wanted = layers["passages_wanted"][known]
    if np.isnan(wanted).any():
        return [*told, "In some layers halves do not agree at all: measure many more passages."]
    most = int(known[np.argmax(wanted)])
    return [
        *told,
        f"For an agreement of {about['agreement']:g} between two runs in every layer, each needs "
        f"about {count(int(wanted.max()), 'passage')} (the most in "
        f"{place(most)}).",
    ]
