"""Each prompt as a point: by its gradient's principal components, or by its size."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from backlight.errors import shorten
from backlight.report.page.views import Choice, Colouring, Numbers, Places, Scatter
from backlight.surveys.tokens.shown import Shown, Target
from backlight.tables import Table

_PAIRS = ((0, 1), (0, 2), (1, 2))
_LONGEST = 160  # letters of a prompt that is pointed at
_ROOM = 1_200_000  # bytes of a page for planes
_POINT, _PLANE = 18, 350  # bytes that a point and a plane take, about
_MANY, _LEAST = 100, 30  # places, above which there is one pair of components; prompts, even so
_UNSEEN = ("prompt", "text")
_FEW = 0.5  # share of prompts that may have a word of their own


def points_of(shown: Shown, targets: Sequence[Target]) -> Scatter:
    """Show each prompt as a point, at each place where gradient vectors were kept.

    Args:
        shown: The run.
        targets: The places; at none of them the gradient is zero by causality.

    Returns:
        Planes of principal components, and of the gradient's norm against numeric answers and the
        loss.
    """
    against = _against(shown.prompts)
    components = _PAIRS if len(targets) <= _MANY else _PAIRS[:1]
    ways = [*map(_pair_name, components), *against.values()]
    count = _fitting(shown.prompts.num_rows, len(targets) * len(ways))
    places = list(dict.fromkeys(target.place for target in targets))
    positions = list(dict.fromkeys(target.position for target in targets))
    planes: dict[tuple[int, ...], Places] = {}
    for target in targets:
        place = (places.index(target.place), positions.index(target.position))
        found = [*_components(target, components, count), *_norms(target, shown, against, count)]
        planes |= {(*place, ways.index(way)): plane for way, plane in found}
    return Scatter(
        title="Gradient vectors, prompt by prompt",
        note=" ".join(_note(targets, shown.prompts.num_rows, count)),
        texts=_texts(shown.prompts, count),
        choices=[
            Choice(label="Site", options=places),
            Choice(label="Position", options=positions),
            Choice(label="Shown", options=ways),
        ],
        planes=planes,
        colourings=list(_colourings(shown, count)),
    )


def _against(prompts: Table) -> dict[str, str]:
    """Name the columns against which norms are shown: a numeric answer, and the loss."""
    found = {"loss": "norm against loss"}
    if "answer_value" in prompts and prompts["answer_value"].dtype.kind != "U":
        found = {"answer_value": "norm against answer", **found}
    return found


def _fitting(prompts: int, planes: int) -> int:
    return min(prompts, max(_LEAST, (_ROOM // planes - _PLANE) // _POINT))


def _pair_name(pair: tuple[int, int]) -> str:
    return " and ".join(f"PC{each + 1}" for each in pair)


def _components(
    target: Target, pairs: Sequence[tuple[int, int]], count: int
) -> Iterator[tuple[str, Places]]:
    if not target.has_shape:
        return
    kept = target.prompts < count
    scores = target.array("scores").astype(np.float64)[kept]
    shares = 100 * target.array("explained")
    for x, y in (pair for pair in pairs if scores.shape[1] > max(pair)):
        plane = Places(
            x=scores[:, x],
            y=scores[:, y],
            x_label=f"PC{x + 1} ({shares[x]:.1f} % of variance)",
            y_label=f"PC{y + 1} ({shares[y]:.1f} % of variance)",
            points=target.prompts[kept],
        )
        yield _pair_name((x, y)), plane


def _norms(
    target: Target, shown: Shown, against: Mapping[str, str], count: int
) -> Iterator[tuple[str, Places]]:
    kept = target.prompts < count
    norms, label = target.norms(), shown.positions.label("gradient_norm")
    for column, way in against.items():
        values = shown.prompts[column].astype(np.float64)[target.prompts]
        name = "answer" if column == "answer_value" else shown.prompts.label(column)
        plane = Places(
            x=values[kept],
            y=norms[kept],
            x_label=f"{name}; {_correlation(values, norms)}",
            y_label=label,
            points=target.prompts[kept],
        )
        yield way, plane


def _correlation(one: Numbers, other: Numbers) -> str:
    known = np.isfinite(one) & np.isfinite(other)
    one, other = one[known], other[known]
    if len(one) < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return f"n = {len(one)}"
    return f"r = {np.corrcoef(one, other)[0, 1]:.2f}, n = {len(one)}"


def _texts(prompts: Table, count: int) -> list[str]:
    rows = zip(prompts["text"][:count], prompts["answer"][:count], strict=True)
    return [
        f"{number}: {shorten(str(text), _LONGEST)} → {str(answer).strip()}"
        for number, (text, answer) in enumerate(rows)
    ]


def _colourings(shown: Shown, count: int) -> Iterator[Colouring]:
    """List what differs among prompts, first what was asked for; words that repeat, and numbers."""
    prompts = shown.prompts
    asked = [] if shown.color_by is None else [shown.color_by]
    for name in dict.fromkeys([*asked, *prompts.columns]):
        values = prompts[name][:count]
        if name == "right":
            values = np.where(values == 1, "yes", "no")
        distinct = len(np.unique(values))
        is_word = values.dtype.kind == "U"
        repeats = not is_word or distinct <= max(2, _FEW * len(values))
        if name == shown.color_by or (name not in _UNSEEN and distinct > 1 and repeats):
            label = prompts.label(name).removesuffix(" value")
            told = values.tolist() if is_word else values.astype(np.float64).tolist()
            yield Colouring(
                label=label, values=[each or "(none)" for each in told] if is_word else told
            )


def _note(targets: Sequence[Target], prompts: int, count: int) -> Iterator[str]:
    yield (
        "Each point is the gradient of one prompt's objective with respect to the vector at one "
        "place, along the directions in which these gradients differ most (principal components, "
        "PC). Prompts whose points are near ask for similar changes of the vector."
    )
    shaped = [target for target in targets if target.has_shape]
    if any((target.array("scale") != 1).any() for target in shaped):
        yield "First, each dimension was divided by its standard deviation: all count alike."
    yield "r: correlation (Pearson) of the norm over n prompts."
    if count < prompts:
        yield f"The first {count:,} of {prompts:,} prompts are shown."
