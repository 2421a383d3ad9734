"""What a norm computes, as plain data."""

from dataclasses import dataclass

from backlight.models.sites import Tap


@dataclass(frozen=True, slots=True, kw_only=True)
class NormForm:
    """What a norm computes, as it was fitted to the norm's own output.

    Attributes:
        module: Its path.
        is_centred: It subtracts the mean (a layer norm); if not, it is an RMS norm.
        gain: The parameter that it multiplies by, None if it multiplies by nothing.
        is_unit_offset: It multiplies by 1 + that parameter.
        bias: The parameter that it adds, None if it adds nothing.
        eps: What it adds under the root.
        axes: Which axes of what passes are batch and positions.
    """

    module: str
    is_centred: bool
    gain: str | None
    is_unit_offset: bool
    bias: str | None
    eps: float
    axes: tuple[int, int] = (0, 1)

    @property
    def entry(self) -> Tap:
        """Where it is given something, as it alone sees it."""
        return Tap(module=self.module, side="branch", axes=self.axes)

    @property
    def out(self) -> Tap:
        """Where what it gives passes."""
        return Tap(module=self.module, side="output", axes=self.axes)
