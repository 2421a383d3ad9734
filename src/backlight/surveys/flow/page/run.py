"""All that the page shows, from the tables of a run."""

from collections.abc import Callable, Iterator, Mapping

from backlight.report.page.views import Paragraph, Prose, Rows, View
from backlight.report.wrong import COLUMNS_TOLD, has_warnings
from backlight.runs.results import Results
from backlight.surveys.driver.words.account import tell_account
from backlight.surveys.flow.page.attention import distance_map, head_map
from backlight.surveys.flow.page.depth import depth_profile, position_map, residual_paths
from backlight.surveys.flow.page.norms import norm_parts, surrogate_lines
from backlight.surveys.flow.page.picture import picture
from backlight.tables import Table

_ROWS = {
    "residual": (
        "Paths around and through each block",
        "direct: dL/dy, the way around; transform: dL/dx \u2212 dL/dy, the way through; both as "
        "root mean squares over tokens. transform share: the transform's part of the sum of both "
        "squares; transform contribution: its part of the gradient at the input, negative where "
        "it works against it; growth: the norm at the block's input over that at its output.",
    ),
    "depth_slope": (
        "Slopes of the logarithm of the norm along depth",
        "Per layer walked backward; the first row is of all positions.",
    ),
    "depth": ("Gradient norm by depth", "Depth 0 is the embedding."),
    "depth_by_position": (
        "Gradient norm by depth and position",
        "Tokens in groups by how far they are from the beginning of their passage.",
    ),
    "attention": (
        "Heads",
        "Norms are root mean squares over tokens of the gradient at a head's output (z), values, "
        "weights, scores, queries and keys; shrink is the norm at the scores over that at the "
        "weights, even shrink the most that even weights can pass.",
    ),
    "norms": (
        "Norms",
        "r mean, r radial: the shares of the energy that centring and scaling take out; sigma: "
        "what the norm divides by; then the cosine and the length of each simpler rule.",
    ),
}
"""The tables in their order; each number of ``attention_distance`` is in its map."""


def views(results: Results) -> Iterator[View]:
    """List what the page shows.

    Args:
        results: The run, measured just now or read from disk.

    Yields:
        The picture of the gradient's paths, charts and maps of the views that were run, what was
        left out, and the tables.
    """
    tables = results.tables
    for name, show in _SHOWN.items():
        if name in tables:
            yield from show(tables)
    yield from _left_out(results)
    for name, (title, note) in _ROWS.items():
        if name in tables:
            told = f" {COLUMNS_TOLD}" if has_warnings(tables[name]) else ""
            yield Rows(title=title, note=f"{note}{told}", table=tables[name])


def _show_residual(tables: Mapping[str, Table]) -> Iterator[View]:
    names = ("depth", "residual", "depth_by_position", "depth_slope")
    depth, residual, by_position, slopes = (tables[name] for name in names)
    yield picture(depth, residual)
    yield depth_profile(depth, slopes)
    yield residual_paths(residual)
    yield position_map(by_position)


def _show_attention(tables: Mapping[str, Table]) -> Iterator[View]:
    yield head_map(tables["attention"])
    yield distance_map(tables["attention_distance"])


def _show_norms(tables: Mapping[str, Table]) -> Iterator[View]:
    yield norm_parts(tables["norms"])
    yield surrogate_lines(tables["norms"])


_SHOWN: Mapping[str, Callable[[Mapping[str, Table]], Iterator[View]]] = {
    "residual": _show_residual,
    "attention": _show_attention,
    "norms": _show_norms,
}


def _left_out(results: Results) -> Iterator[Prose]:
    about = results.metadata
    found = [
        Paragraph(label=f"{name}:", text=reason)
        for name, reason in about.get("left_out", {}).items()
    ]
    if told := "text" in about and tell_account(about["text"], results.config["max_length"]):
        found.append(Paragraph(label="Text:", text=told))
    if found:
        yield Prose(title="What was left out, and why", paragraphs=found)
