"""Tables of a survey of features as they are printed: the largest features, and all layers."""

from collections.abc import Iterator

from backlight.runs.results import Results
from backlight.surveys.driver.words.account import context_column, context_lines, corpus_lines
from backlight.surveys.driver.words.aggregation import aggregation_notes, modes_of
from backlight.surveys.driver.words.path import path_notes, path_table, titled, whole_path_table
from backlight.surveys.driver.words.printing import Column, Shown, percent, sure_number
from backlight.surveys.driver.words.ranking import largest
from backlight.surveys.driver.words.sentences import ordinal
from backlight.surveys.driver.words.warning import EXPLAINED, mark_columns
from backlight.surveys.features.options import SaeConfig
from backlight.surveys.features.printed.summary import named

_NUM_NAMED = 3
_NUM_TOLD = 10
_MOST_ROWS = 12
_WORDS = {"gradients": "gradients by features", "values": "features", "grad_x_act": "grad x act"}


def brief(options: SaeConfig, results: Results) -> Iterator[Shown | str]:
    """Show the features that are largest, and of several layers those that are.

    Args:
        options: The options of the run.
        results: What was found.

    Yields:
        One or two small tables, and what a reader of them must know.
    """
    mode = modes_of(results.config)[0]
    features, layers = results.tables["top_features"], results.tables["layers"]
    heading = mode.replace("_", " ")
    most = largest(features, mode, _MOST_ROWS)
    yield Shown(
        table=most,
        columns=[
            Column("largest", cell=lambda table, row: named(table)[row]),
            Column(f"{heading} ± se ({layers.units[mode]})", cell=sure_number(mode)),
            *mark_columns(most),
            Column("fires at", cell=percent("frequency")),
            context_column("where it mattered most", "context"),
        ],
        num_all=int(results.tables["dictionaries"]["num_features"].sum()),
    )
    if layers.num_rows > 1:
        yield Shown(
            table=largest(layers, mode, _MOST_ROWS),
            columns=_layer_columns(results),
            num_all=layers.num_rows,
        )
    yield from path_table(results)
    yield " ".join(_notes(options, results))


def _layer_columns(results: Results) -> list[Column]:
    mode, quality = modes_of(results.config)[0], results.tables["dictionaries"]
    explained = dict(zip(quality["layer"], quality["explained_variance"], strict=True))
    return [
        Column("largest layers", "layer"),
        Column(f"average {mode.replace('_', ' ')}", mode, ".3g"),
        Column("largest feature", f"{mode}_top"),
        Column("with", f"{mode}_max", ".3g"),
        Column("sure", cell=percent("significant_share")),
        Column(
            "explained",
            cell=lambda table, row: f"{100 * explained[table['layer'][row]]:.1f} %",
        ),
    ]


def tables(options: SaeConfig, results: Results) -> Iterator[Shown]:
    """Show the layers, then the features that matter most, then what paths add up to.

    Args:
        options: The options of the run.
        results: What was found.

    Yields:
        The tables.
    """
    yield _layers(options, results)
    yield _largest(options, results)
    yield from whole_path_table(results)


def _layers(options: SaeConfig, results: Results) -> Shown:
    table, quality = results.tables["layers"], results.tables["dictionaries"]
    top = results.tables["top_features"]

    def largest(row: int) -> str:
        own = top.select(top["layer"] == table["layer"][row])
        return ", ".join(str(feature) for feature in own["feature"][:_NUM_NAMED])

    columns = [
        Column("layer", "layer"),
        Column("explained", cell=lambda _, row: f"{quality['explained_variance'][row]:.3f}"),
        Column("L0", cell=lambda _, row: f"{quality['l0'][row]:.0f}"),
    ]
    for mode in options.modes:
        name = mode.replace("_", " ")
        columns += [
            Column(name, mode, ".3e"),
            Column(f"std {name}", f"{mode}_std", ".3e"),
            Column(f"max {name}", f"{mode}_max", ".3e"),
        ]
    columns.append(Column("sure", cell=percent("significant_share")))
    if "loss" in table:
        columns.append(Column("loss", "loss", ".4f"))
    columns.append(Column("largest features", cell=lambda _, row: largest(row), wraps=True))
    how = "" if options.aggregate_by == "values" else f", splice {options.splice}"
    unit = table.units[options.modes[0]]
    return Shown(
        table=table,
        columns=columns,
        title=titled(
            f"{options.model_name}: {_WORDS[options.aggregate_by]} ({unit}){how}", results.config
        ),
        caption=_caption(options, results),
    )


def _largest(options: SaeConfig, results: Results) -> Shown:
    mode, table = options.modes[0], results.tables["top_features"]
    error = "mean_se" if mode == "rms" else f"{mode}_se"
    num_layers = results.tables["layers"].num_rows
    each = max(1, _NUM_TOLD // num_layers)
    name = mode.replace("_", " ")
    shown = table.select(table[f"rank_{mode}"] <= each)
    marks = mark_columns(shown)
    return Shown(
        table=shown,
        columns=[
            Column("layer", "layer"),
            Column("feature", "feature"),
            Column(name, mode, ".3e"),
            Column("± se of mean" if mode == "rms" else "± se", error, ".3e"),
            Column("fires at", cell=percent("frequency")),
            *marks,
            context_column("where it mattered most", "context"),
        ],
        caption=EXPLAINED if marks else "",
        title=f"Features of the largest {name}" + f", {each} of each layer" * (num_layers > 1),
    )


def _caption(options: SaeConfig, results: Results) -> str:
    table = results.tables["layers"]
    over = "the tokens where a feature fires" if options.active_only else "all of them"
    lines = [
        f"{table['num_tokens'][0]:,} tokens in {table['num_sequences'][0]:,} passages (every "
        f"{_token(options.stride)}), averaged over {over}; average, std and max over features. "
        "sure: share of features whose mean is more than 1.96 standard errors (clustered by "
        "passage) from 0; 5 % by chance.",
        "explained: variance of the site that the dictionary explains on the first batch, first "
        "tokens left out; L0: features per token.",
    ]
    if "loss" in table:
        spliced = options.splice == "replace"
        lines.append(
            f"loss: nats per predicted token{', with the reconstruction in place' * spliced}; "
            f"gradients of the {options.loss_reduction} loss."
        )
    return "\n".join([*lines, *_notes(options, results), *context_lines(results.metadata)])


def _notes(options: SaeConfig, results: Results) -> list[str]:
    lines = corpus_lines(options, results.metadata)
    poor = results.metadata.get("poor_reconstruction", {})
    if poor:
        lines.append(
            f"Their dictionaries reconstruct poorly (why: manifest.json): layers {', '.join(poor)}."
        )
    lines += path_notes(results)
    return [*lines, *aggregation_notes(options.power, options.normalize)]


def _token(stride: int) -> str:
    return "token" if stride == 1 else f"{ordinal(stride)} token"
