"""The files of a run: arrays of each target, with the names that other tools look for."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.models.sites import kind_of, layer_of
from backlight.surveys.driver.options.reading import same_numbers
from backlight.surveys.driver.results.findings import Findings
from backlight.surveys.tokens.names import key_of
from backlight.surveys.tokens.options import TokensConfig
from backlight.tables import Table

Arrays = Mapping[str, NDArray[Any]]

_VECTORS = ("gradients", "activations", "loadings")
_SUMMARY = ("components_90", "components_95", "effective_rank", "mean_cosine")


def describe(
    options: TokensConfig,
    *,
    tables: Sequence[Table],
    data: Arrays,
    metadata: Mapping[str, Any],
) -> Findings:
    """Divide what was found into files.

    Args:
        options: What was asked.
        tables: The tables of positions, of prompts and of shapes, then any others.
        data: All arrays.
        metadata: What a reader of the numbers must know.

    Returns:
        The same, with ``gradients/{key}.npz`` and ``pca/{key}_pca.npz`` and ``.json`` for each
        target; whole vectors are there and not in the archive of all arrays.
    """
    _, prompts, shapes, *_ = tables
    targets = [(str(s), str(p)) for s, p in zip(shapes["site"], shapes["position"], strict=True)]
    first = kind_of(targets[0][0])
    keys = {target: key_of(*target, first) for target in targets}
    files: dict[str, Any] = {}
    for (site, position), key in keys.items():
        own = _under(f"{site}/{position}", data)
        known = _of_prompts(own["prompts"], prompts)
        vectors = {"gradients": own["gradients"], "activations": own["activations"]}
        files[f"gradients/{key}.npz"] = {**vectors, **known}
        if "scores" in own:
            row = shapes.select((shapes["site"] == site) & (shapes["position"] == position))
            files[f"pca/{key}_pca.npz"] = {**_components(own), **known}
            files[f"pca/{key}_pca.json"] = {
                "site": site,
                "position": position,
                "pca": options.pca,
                "original_shape": list(own["gradients"].shape),
                **{name: row[name][0] for name in _SUMMARY},
                **_texts(prompts, own["prompts"]),
            }
    about = {"keys": list(keys.values()), "config": same_numbers(options)}
    layers = {layer for site, _ in targets if (layer := layer_of(site)) is not None}
    return Findings(
        tables=tables,
        data=data,
        metadata=metadata,
        described={
            "n_samples": prompts.num_rows,
            "target_layers": sorted(layers),
            "target_positions": list(dict.fromkeys(position for _, position in targets)),
            **about,
        },
        brief=about,
        files=files,
        archived=[name for name in data if not name.endswith(_VECTORS)],
    )


def _under(prefix: str, arrays: Arrays) -> dict[str, NDArray[Any]]:
    start = f"{prefix}/"
    return {
        name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)
    }


def _of_prompts(rows: NDArray[np.int64], table: Table) -> dict[str, NDArray[Any]]:
    """Return what is known of the prompts that have a position."""
    known = {"losses": "loss", "answers": "answer_value", "distances": "distance"}
    found = {name: table[column][rows] for name, column in known.items() if column in table}
    return {"prompts": rows, **found}


def _components(own: Arrays) -> dict[str, NDArray[Any]]:
    return {
        "pca_gradients": own["scores"],
        "explained_variance_ratio": own["explained"],
        "components": own["loadings"],
        "mean": own["mean"],
        "scale": own["scale"],
    }


def _texts(table: Table, rows: NDArray[np.int64]) -> dict[str, list[str]]:
    """Return the values of the prompts that are words: regions, splits, ..."""
    return {
        name: [str(value) for value in column[rows]]
        for name, column in table.items()
        if column.dtype.kind == "U" and name != "text"
    }
