"""Logs of gradient norms that other tools wrote, in the words of our own log."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from backlight.errors import RunDirectoryError
from backlight.training.history.history import ParameterInfo
from backlight.training.history.lines import decode_number

__all__ = ["plain_records"]

_Line = tuple[int, Mapping[str, Any]]


def plain_records(
    path: Path, lines: Sequence[_Line]
) -> tuple[list[ParameterInfo], list[dict[str, Any]]]:
    """Read lines such as ``{"step": 1, "grad_norm": 0.3, "loss": 2.1}``.

    Each name under ``norms`` counts as a parameter and as a module, in the order in which the
    names appear, from the input to the loss; where ``grad_norm`` is missing, it is the root of the
    sum of their squares.

    Args:
        path: The file, for messages.
        lines: The number of each line, and its object.

    Returns:
        The parameters, and records as in our own log.

    Raises:
        RunDirectoryError: If a line has no step, nothing has a norm or a loss, or norms are not
            numbers.
    """
    records: list[dict[str, Any]] = []
    norms: list[dict[str, float | None]] = []
    for number, line in lines:
        step = line.get("step")
        if not isinstance(step, int) or isinstance(step, bool):
            raise RunDirectoryError(
                f"Line {number} of {str(path)!r} has no whole number as its step. A plain log has "
                'lines such as {"step": 1, "grad_norm": 0.3, "loss": 2.1}.'
            )
        seen = _norms(path, number, line.get("norms"))
        if "loss" in line:
            records.append({"kind": "loss", "steps": [step], "losses": [line["loss"]]})
        if seen or "grad_norm" in line:
            norms.append(seen)
            rate = line.get("learning_rate")
            records.append(
                {
                    "kind": "step",
                    "step": step,
                    "norm": line.get("grad_norm", _total(seen)),
                    "learning_rates": [] if rate is None else [rate],
                }
            )
    if not records:
        raise RunDirectoryError(
            f"{str(path)!r} holds no norm of a gradient: no line has grad_norm, norms or loss."
        )
    names = list(dict.fromkeys(name for seen in norms for name in seen))
    steps = (record for record in records if record["kind"] == "step")
    for record, seen in zip(steps, norms, strict=True):
        record["parameters"] = {"norm": [seen.get(name) for name in names]}
    return [_parameter(name, place) for place, name in enumerate(names)], records


def _norms(path: Path, number: int, found: object) -> dict[str, float | None]:
    if found is None:
        return {}
    if isinstance(found, Mapping):
        norms = cast("Mapping[str, object]", found)
        values = {name: decode_number(value) for name, value in norms.items()}
        if not any(values[name] is None and norms[name] is not None for name in norms):
            return values
    raise RunDirectoryError(
        f"The norms in line {number} of {str(path)!r} are not numbers by names of layers, such as "
        '{"first layer": 0.1, "second layer": 0.2}.'
    )


def _total(norms: Mapping[str, float | None]) -> float | None:
    values = [value for value in norms.values() if value is not None]
    return float(np.linalg.norm(values)) if values else None


def _parameter(name: str, place: int) -> ParameterInfo:
    return ParameterInfo(name=name, module=name, layer=place, depth=place)
