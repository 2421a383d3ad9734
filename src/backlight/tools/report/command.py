"""``backlight report``: every figure of a run, redrawn from disk; no model, no torch."""

import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from backlight.errors import ConfigError, RunDirectoryError, listed, quoted
from backlight.foreign.files import expanded
from backlight.foreign.text import plain
from backlight.report.dimensions import NOUNS, Dimensions, Variant
from backlight.report.plot_drawing import draw_plots
from backlight.report.plots import plots_from_json
from backlight.report.visible import make_plain
from backlight.runs.directory import RunDirectory
from backlight.runs.results import Results, load_results
from backlight.surveys.driver.progress import console
from backlight.surveys.features.figures import FeaturesReport, draw_features
from backlight.surveys.flow.figures.all import FlowReport, draw_flow
from backlight.surveys.layers.figures import LayersReport, draw_layers
from backlight.surveys.tokens.figures.all import TokensReport, draw_tokens
from backlight.tables import Table
from backlight.tools.report.options import ReportConfig

_DPI = 110
_LAB = "lab "
_MODES = ("mean_abs", "mean", "rms")
_OBJECTIVES = {
    "loss": "loss of the answer",
    "logit": "logit of the answer",
    "logit_difference": "logit of the answer less that of the wrong one",
}


def run(options: ReportConfig) -> None:
    """Redraw all figures of a finished run, and print how many they are.

    Args:
        options: The options of the command.
    """
    figures = redraw(options.run_dir)
    console().print(f"{len(figures)} figures redrawn in {plain(options.run_dir)}", soft_wrap=True)


def redraw(path: Path) -> list[Path]:
    """Redraw all figures of a finished run in place.

    Args:
        path: The run directory.

    Returns:
        The figures.

    Raises:
        RunDirectoryError: If it is no finished run, a run that has no figures, or one whose files
            do not hold what its figures show.
    """
    path = expanded(path, error=RunDirectoryError)
    directory = RunDirectory(path)
    command = str(directory.provenance().get("command")) if path.is_dir() else "one file"
    results = load_results(path)
    draw = _FIGURES.get(_LAB if command.startswith(_LAB) else command)
    if draw is None:
        raise RunDirectoryError(
            f"The run in {quoted(path)} ({quoted(command)}) has no figures to draw."
        )
    directory.take_up()
    with np.errstate(all="ignore"):  # a stranger's numbers may have any size
        written = [
            directory.write_bytes(name, content) for name, content in _drawn(path, draw, results)
        ]
    directory.list_again()
    return written


def _drawn(
    path: Path, draw: Callable[[Results], Iterator[tuple[str, Figure]]], results: Results
) -> Iterator[tuple[str, bytes]]:
    """Draw the figures of a run, whose files may lack anything: they may be a stranger's."""
    try:
        for name, figure in draw(results):
            yield name, rendered(name, figure)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise RunDirectoryError(
            f"The figures of the run in {quoted(path)} cannot be drawn: its files do not hold "
            f"what they show ({type(error).__name__}: {quoted(str(error))}). Measure again."
        ) from error


def layers_report(results: Results) -> LayersReport:
    """Collect what the figures of a ``backlight layers`` run show.

    Args:
        results: The run.

    Returns:
        What the figures are drawn from.
    """
    options = results.config
    return LayersReport(
        model=str(options["model_name"]),
        site=str(options["site"]),
        quantity=str(options["aggregate_by"]),
        variants=_variants(results),
        layers=results.tables["layers"],
        dimensions=results.tables["dimensions"],
        histograms=results.tables["histograms"],
    )


def features_report(results: Results) -> FeaturesReport:
    """Collect what the figures of a ``backlight sae`` run show.

    Args:
        results: The run.

    Returns:
        What the figures are drawn from.
    """
    options, layers = results.config, _layers(results)
    quantity, splice = str(options["aggregate_by"]), str(options["splice"])
    what = {
        "gradients": "gradient of the loss by features",
        "values": "feature activations",
        "grad_x_act": "gradient x activation of features",
    }[quantity]
    how = "" if quantity == "values" else f" (splice {splice})"
    where = "where they fire, " if options["active_only"] else ""
    both = {"mean", "mean_abs"}
    unit = next(iter(results.tables["layers"].units.values()))
    return FeaturesReport(
        shown=Dimensions(
            title=f"{what}, {where}{options['model_name']}{how}",
            noun=NOUNS[quantity],
            kind="feature",
            index="feature",
            variants=_variants(results),
            means={
                layer: _means(results, layer, unit)
                for layer in layers
                if all(f"layer_{layer}_{name}" in results.statistics for name in both)
            },
        ),
        layers=results.tables["layers"],
        dictionaries=results.tables["dictionaries"],
        top_features=results.tables["top_features"],
    )


def flow_report(results: Results) -> FlowReport:
    """Collect what the figures of a ``backlight flow`` run show.

    Args:
        results: The run.

    Returns:
        What the figures are drawn from.
    """
    model, told = str(results.config["model_name"]), results.metadata
    return FlowReport(
        model=model,
        title=f"{model}, {told['num_tokens']:,} tokens in {told['num_passages']:,} passages",
        tables=results.tables,
    )


def tokens_report(results: Results) -> TokensReport:
    """Collect what the figures of a ``backlight tokens`` run show.

    Args:
        results: The run.

    Returns:
        What the figures are drawn from.
    """
    options, tables = results.config, results.tables
    asked = options["task_type"] or options["template"]
    positions = tables["positions"]["position"]
    answered = [str(name) == "answer" or str(name).startswith("answer_") for name in positions]
    return TokensReport(
        title=(
            f"{asked} | objective: {_OBJECTIVES[options['objective']]} "
            f"| model: {_brief(str(results.metadata['checkpoint_path']))}"
        ),
        color_by=_colour(options["color_by"], tables["prompts"]),
        num_input=int((~np.array(answered) * (tables["positions"]["column"] + 1)).max()),
        positions=tables["positions"],
        prompts=tables["prompts"],
        geometry=tables["geometry"],
        arrays=results.data,
    )


def rendered(name: str, figure: Figure) -> bytes:
    """Render a figure as its file's name says; in a drawing (.svg), text stays text."""
    return svg(figure) if name.endswith(".svg") else png(figure)


def svg(figure: Figure) -> bytes:
    """Render a figure as a drawing; equal figures give equal bytes."""
    buffer = io.BytesIO()
    make_plain(figure)
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "backlight"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def png(figure: Figure) -> bytes:
    """Render a figure; equal figures give equal bytes."""
    buffer = io.BytesIO()
    make_plain(figure)
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


def _in_folder(folder: str, figures: Iterator[tuple[str, Figure]]) -> Iterator[tuple[str, Figure]]:
    for name, figure in figures:
        yield f"{folder}/{name}", figure


def _brief(model: str) -> str:
    """Name a model in a folder by the end of its path, which is the same on every machine."""
    path = Path(model)
    return "/".join(path.parts[-2:]) if path.is_absolute() else model


def _colour(asked: str | None, prompts: Table) -> str | None:
    """Choose the column that colours points: what was asked for, else a number for an answer."""
    if asked is None:
        return "answer_value" if "answer_value" in prompts.columns else None
    if asked not in prompts.columns:
        known = listed(prompts.columns)
        raise ConfigError(
            f"There is no value {quoted(asked)} to colour by; the prompts have {known}."
        )
    return asked


def _layers(results: Results) -> list[int]:
    return [int(layer) for layer in results.tables["layers"]["layer"]]


def _means(results: Results, layer: int, unit: str) -> Table:
    columns = {name: results.statistics[f"layer_{layer}_{name}"] for name in ("mean", "mean_abs")}
    known = ~np.isnan(columns["mean_abs"])
    table = Table(name="means", columns=columns, units=dict.fromkeys(columns, unit))
    return table.select(known)


def _variants(results: Results) -> tuple[Variant, ...]:
    layers = _layers(results)
    start = f"layer_{layers[0]}_"
    names = [key.removeprefix(start) for key in results.data if key.startswith(start)]
    return tuple(_variant(name, results, layers) for name in names)


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


_FIGURES: Mapping[str, Callable[[Results], Iterator[tuple[str, Figure]]]] = {
    "layers": lambda results: draw_layers(layers_report(results)),
    "flow": lambda results: draw_flow(flow_report(results)),
    "sae": lambda results: draw_features(features_report(results)),
    _LAB: lambda results: draw_plots(plots_from_json(results.metadata["plots"]), results.tables),
    "tokens": lambda results: _in_folder("figures", draw_tokens(tokens_report(results))),
}
