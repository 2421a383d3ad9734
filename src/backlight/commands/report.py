"""``backlight report``: every figure of a run, redrawn from disk; no model, no torch."""

import io
from pathlib import Path

from matplotlib.figure import Figure

from backlight.errors import RunDirectoryError
from backlight.report.dimensions import Variant
from backlight.report.layers import LayersReport, draw_layers
from backlight.runs.directory import PROVENANCE, RunDirectory
from backlight.runs.results import Results, load_results

__all__ = ["layers_report", "png", "run"]

_DPI = 110
_MODES = ("mean_abs", "mean", "rms")


def run(path: Path) -> list[Path]:
    """Redraw all figures of a finished run in place.

    Args:
        path: The run directory.

    Returns:
        The figures.

    Raises:
        RunDirectoryError: If it is no finished run, or a run that has no figures.
    """
    results = load_results(path)
    command = results.config.get(PROVENANCE, {}).get("command")
    if command != "layers":
        raise RunDirectoryError(f"The run in {str(path)!r} ({command}) has no figures to draw.")
    directory = RunDirectory(path)
    return [
        directory.write_bytes(name, png(figure))
        for name, figure in draw_layers(layers_report(results))
    ]


def layers_report(results: Results) -> LayersReport:
    """Collect what the figures of a ``backlight layers`` run show.

    Args:
        results: The run.

    Returns:
        What the figures are drawn from.
    """
    options = results.config
    layers = [int(layer) for layer in results.tables["layers"]["layer"]]
    names = list(
        dict.fromkeys(
            key.removeprefix(f"layer_{layers[0]}_")
            for key in results.data
            if key.startswith(f"layer_{layers[0]}_")
        )
    )
    return LayersReport(
        model=str(options["model_name"]),
        site=str(options["site"]),
        quantity=str(options["aggregate_by"]),
        variants=tuple(_variant(name, results, layers) for name in names),
        layers=results.tables["layers"],
        dimensions=results.tables["dimensions"],
        histograms=results.tables["histograms"],
    )


def png(figure: Figure) -> bytes:
    """Render a figure; equal figures give equal bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


def _variant(name: str, results: Results, layers: list[int]) -> Variant:
    options = results.config
    mode = next(mode for mode in _MODES if name == mode or name.startswith(f"{mode}_"))
    norm = name.removeprefix(f"{mode}_norm_") if "_norm_" in name else options["normalize"]
    unit = results.tables["layers"].units[mode]
    if options["power"] is not None:
        unit = f"({unit})^{options['power']:g}"
    if norm != "none":
        unit = f"1 on average by {norm}"
    return Variant(
        name=name,
        mode=mode,
        unit=unit,
        by_layer={layer: results.data[f"layer_{layer}_{name}"] for layer in layers},
    )
