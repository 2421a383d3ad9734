"""The files of a run: the seed's, with the seed's names, and ours."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.models.sites import kind_of, layer_of
from backlight.runs.directory import RunDirectory
from backlight.runs.results import CONSOLIDATED, METADATA, Results
from backlight.surveys.driver.reading import same_numbers
from backlight.surveys.driver.session import Clock
from backlight.surveys.tokens.names import key_of
from backlight.surveys.tokens.options import TokensConfig
from backlight.tables import Table

_VECTORS = ("gradients", "activations", "loadings")
_SUMMARY = ("components_90", "components_95", "effective_rank", "mean_cosine")


def write_tokens(
    directory: RunDirectory, config: TokensConfig, results: Results, clock: Clock
) -> None:
    """Write arrays, tables, figures and metadata, and the manifest last.

    Args:
        directory: Where.
        config: The options.
        results: What was found.
        clock: How long it took so far.
    """
    from backlight.report.rendering import rendered
    from backlight.surveys.tokens import figures

    targets = list(_targets(results))
    first = kind_of(targets[0][0])
    keys: list[str] = []
    for site, position in targets:
        stem = key_of(site, position, first)
        keys.append(stem)
        own = _under(f"{site}/{position}", results.data)
        directory.write_arrays(f"gradients/{stem}.npz", _gradient_file(own, results))
        if "scores" in own:
            directory.write_arrays(f"pca/{stem}_pca.npz", _pca_file(own, results))
            directory.write_json(f"pca/{stem}_pca.json", _pca_facts(own, results, site, position))
    for table in results.tables.values():
        directory.write_table(table)
    # Whole vectors are in files of their own.
    kept = {name: array for name, array in results.data.items() if not name.endswith(_VECTORS)}
    clock.lap("save_data")
    for name, figure in figures.draw(results):
        directory.write_bytes(name, rendered(name, figure))
    clock.lap("plots")

    described = {
        **results.metadata,
        "n_samples": results.tables["prompts"].num_rows,
        "target_layers": sorted(
            {layer for site, _ in targets if (layer := layer_of(site)) is not None}
        ),
        "target_positions": list(dict.fromkeys(position for _, position in targets)),
        "keys": keys,
        "config": same_numbers(config),
        "timing_stats": {**clock.laps, "total_runtime": clock.total()},
    }
    directory.write_json(METADATA, described)
    brief = np.array(json.dumps({"keys": keys, "config": same_numbers(config)}))
    directory.write_arrays(CONSOLIDATED, {**kept, "metadata": brief})
    command = directory.provenance()["command"]
    directory.finish({"command": command, "complete": True, **results.metadata})


def _targets(results: Results) -> Iterator[tuple[str, str]]:
    table = results.tables["geometry"]
    for site, position in zip(table["site"], table["position"], strict=True):
        yield str(site), str(position)


def _under(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    start = f"{prefix}/"
    return {
        name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)
    }


def _of_prompts(own: Mapping[str, NDArray[Any]], results: Results) -> dict[str, NDArray[Any]]:
    """Give what is known of the prompts that have a position."""
    rows, table = own["prompts"], results.tables["prompts"]
    known = {"losses": "loss", "answers": "answer_value", "distances": "distance"}
    found = {name: table[column][rows] for name, column in known.items() if column in table.columns}
    return {"prompts": rows, **found}


def _gradient_file(own: Mapping[str, NDArray[Any]], results: Results) -> dict[str, NDArray[Any]]:
    return {
        "gradients": own["gradients"],
        "activations": own["activations"],
        **_of_prompts(own, results),
    }


def _pca_file(own: Mapping[str, NDArray[Any]], results: Results) -> dict[str, NDArray[Any]]:
    return {
        "pca_gradients": own["scores"],
        "explained_variance_ratio": own["explained"],
        "components": own["loadings"],
        "mean": own["mean"],
        "scale": own["scale"],
        **_of_prompts(own, results),
    }


def _pca_facts(
    own: Mapping[str, NDArray[Any]], results: Results, site: str, position: str
) -> dict[str, Any]:
    table = results.tables["geometry"]
    row = table.select((table["site"] == site) & (table["position"] == position))
    rows = own["prompts"]
    return {
        "site": site,
        "position": position,
        "pca": results.config["pca"],
        "original_shape": list(own["gradients"].shape),
        **{name: row[name][0] for name in _SUMMARY},
        **_texts(results.tables["prompts"], rows),
    }


def _texts(table: Table, rows: NDArray[np.int64]) -> dict[str, list[str]]:
    """Give the values of the prompts that are words: regions, splits, ..."""
    return {
        name: [str(value) for value in column[rows]]
        for name, column in table.columns.items()
        if column.dtype.kind == "U" and name != "text"
    }
