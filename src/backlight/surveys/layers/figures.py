"""All figures of a run of ``backlight layers``, drawn from its tables and arrays."""

from collections.abc import Iterator
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from backlight.report.axes import MODE_COLOURS, draw_by_layer, draw_density_by_layer
from backlight.report.canvas import one_panel
from backlight.report.dimensions import NOUNS, TITLES, Dimensions, Variant, draw_all_dimensions
from backlight.tables import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class LayersReport:
    """What the figures of a run show.

    Attributes:
        model: The model's name.
        site: The kind of site, such as ``mlp.out``.
        quantity: ``gradients``, ``values`` or ``grad_x_act``.
        variants: The aggregates.
        layers: The table by layer.
        dimensions: The table by dimension.
        histograms: The table of sizes.
    """

    model: str
    site: str
    quantity: str
    variants: tuple[Variant, ...]
    layers: Table
    dimensions: Table
    histograms: Table

    @property
    def noun(self) -> str:
        """The quantity, as in file names."""
        return NOUNS[self.quantity]

    @property
    def title(self) -> str:
        """What is shown, for a title."""
        return f"{TITLES[self.quantity]} at {self.site}, {self.model}"


def draw_layers(report: LayersReport) -> Iterator[tuple[str, Figure]]:
    """Draw all figures of a run.

    Args:
        report: What to show.

    Yields:
        The name of each figure's file, and the figure.
    """
    yield "depth_profile.png", _depth_profile(report)
    yield f"token_{report.noun}_histograms.png", _token_histograms(report)
    table = report.dimensions
    yield from draw_all_dimensions(
        Dimensions(
            title=report.title,
            noun=report.noun,
            kind="activation",
            index="dimension",
            variants=report.variants,
            means={
                int(layer): table.select(table["layer"] == layer)
                for layer in report.layers["layer"]
            },
        )
    )


def _depth_profile(report: LayersReport) -> Figure:
    modes = list(dict.fromkeys(variant.mode for variant in report.variants))
    figure = Figure(figsize=(8, 2.6 + 2.6 * len(modes)), layout="constrained")
    panels = figure.subplots(len(modes) + 1, 1, sharex=True, squeeze=False)[:, 0]
    figure.suptitle(f"Depth profile: {report.title}\n(bands: 95 %, clustered by passage)", size=11)
    table = report.layers
    for mode, axes in zip(modes, panels, strict=False):
        positive = bool((table[mode] > 0).all())
        draw_by_layer(
            axes,
            table,
            mode,
            colour=MODE_COLOURS[mode],
            label=mode,
            log=mode != "mean" and positive,
        )
        axes.set_xlabel("")
    _draw_concentration(panels[-1], table)
    return figure


def _draw_concentration(axes: Axes, table: Table) -> None:
    """Draw how evenly dimensions share the quantity, and how steady their signs are."""
    share = table["participation_ratio"] / table["num_dimensions"]
    curves = {
        "effective dimensions / dimensions": share,
        "share of the top 1 %": table["top_share"],
        "sign consistency": table["sign_consistency"],
    }
    for label, values in curves.items():
        axes.plot(table["layer"], values, marker=".", label=label)
    axes.set(xlabel="layer", ylabel="share (0 to 1)", ylim=(0, 1))
    axes.legend(frameon=False, fontsize=8, ncols=3)


def _token_histograms(report: LayersReport) -> Figure:
    figure, axes = one_panel(f"Size of single values: {report.title}")
    mesh = draw_density_by_layer(axes, report.histograms)
    figure.colorbar(mesh, ax=axes, label="share of tokens x dimensions (%)")
    return figure


def draw(results):
    """Draw all figures of a run."""
    from backlight.tools.report.command import layers_report

    return draw_layers(layers_report(results))
