"""What a run or a comparison says of where its numbers come from."""

from collections.abc import Mapping
from typing import Any

from backlight.runs.results import Results


def command_of(results: Results) -> str:
    """Name the command that a run is of; empty if it does not say."""
    return str(results.provenance.get("command", ""))


def is_comparison(results: Results) -> bool:
    """Whether it is a comparison of runs."""
    return command_of(results) == "compare" or "compared" in results.metadata


def model_type_of(results: Results) -> str:
    """Name the architecture of the model, as Transformers does; empty if nobody says."""
    about = results.metadata.get("a") if is_comparison(results) else results.provenance
    told = about if isinstance(about, Mapping) else {}
    model = told.get("model")
    return str(model.get("model_type", "")) if isinstance(model, Mapping) else ""


def dictionary_of(results: Results, layer: int) -> Mapping[str, Any]:
    """Read what is known of a layer's dictionary: its format, where it was, what it reads.

    Args:
        results: A run of features, or a comparison of such runs: then of the first one.
        layer: The layer.

    Returns:
        What its files say; empty if the run does not say.
    """
    about = results.metadata.get("a") if is_comparison(results) else results.provenance
    told = about.get("dictionaries") if isinstance(about, Mapping) else None
    found = told.get(str(layer)) if isinstance(told, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def sae_path_of(results: Results) -> str:
    """Read where the run was told to find its dictionaries; empty if it does not say."""
    about = results.metadata.get("a") if is_comparison(results) else results.config
    return str(about.get("sae_path") or "") if isinstance(about, Mapping) else ""
