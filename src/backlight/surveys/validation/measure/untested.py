"""Layers of which no unit of a kind was tested, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backlight.surveys.validation.measure.units import Unit

SILENT = "none of them fires in these passages"
TIME = "the time was over (--budget)"
NUMBER = "no more units were to be tested (--units)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Untested:
    """Some layers without a tested unit.

    Attributes:
        kind: The kind of unit.
        layers: They.
        reason: Why there is none, within a sentence.
    """

    kind: str
    layers: tuple[int, ...]
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return it as a run's metadata keep it."""
        return {"kind": self.kind, "layers": list(self.layers), "reason": self.reason}


def untested(
    layers: Mapping[str, Sequence[int]],
    silent: Sequence[int],
    units: Sequence[Unit],
    num_tested: int,
) -> list[Untested]:
    """Find the layers of which no unit was tested.

    Args:
        layers: The layers of the run, by the kind of unit.
        silent: Those of which no feature fires.
        units: What was planned, in its order.
        num_tested: How many of it were tested.

    Returns:
        Them, by kind and reason; none if every layer has a tested unit of every kind.
    """
    planned = {(unit.kind, unit.layer) for unit in units}
    tested = {(unit.kind, unit.layer) for unit in units[:num_tested]}
    found: dict[tuple[str, str], list[int]] = {}
    for kind, own in layers.items():
        for layer in own:
            if (kind, layer) in tested:
                continue
            reason = TIME if (kind, layer) in planned else NUMBER
            reason = SILENT if kind == "feature" and layer in silent else reason
            found.setdefault((kind, reason), []).append(layer)
    return [
        Untested(kind=kind, layers=tuple(own), reason=reason)
        for (kind, reason), own in found.items()
    ]
