"""Direct feedback alignment: the output's error reaches every block at once.

The error e at the output is kept when the backward pass meets it, which is before anything else. At
each feedback point whatever gradient comes from above is then dropped, and ``B e`` goes on in its
place (Nokland 2016, arXiv 1609.01596; in transformers, Launay et al. 2020, arXiv 2006.12878).
Between points the gradient is backpropagated: attention and norms stay exact, an embedding learns
through the first block, and a tied head adds its own term.

All matrices B are rows of one buffer on the head, ``direct_feedback``, which is drawn after the
first forward pass, when all widths are known: shared, every point reads from the first row on; else
their rows lie below each other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from inspect import signature
from typing import Any, ClassVar, Literal, TypeVar, cast, final, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from backlight.errors import ConfigError, quoted
from backlight.learning_rules.feedback import MatrixHolder
from backlight.learning_rules.swapping import Change, check_choice, find_module

ErrorPlace = Literal["before_head", "after_head"]
ERRORS: tuple[ErrorPlace, ...] = get_args(ErrorPlace)

DirectScale = Literal["width", "xavier", "kaiming"]
DIRECT_SCALES: tuple[DirectScale, ...] = get_args(DirectScale)


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectFeedback:
    """Where direct feedback alignment takes the error, and where it sends it.

    Attributes:
        points: Paths of the modules whose outputs get the error in place of their gradient.
        head: Path of the vocabulary projection.
        error: Where the error is taken: at the head's input or at its output.
        shared: All points read one matrix.
    """

    points: Sequence[str] = ()
    head: str = "lm_head"
    error: ErrorPlace | str = "before_head"
    shared: bool = True


_Function = TypeVar("_Function", bound=Callable[..., Any])


def _outside_of_compiled_graphs(function: _Function) -> _Function:
    """Keep a function out of what ``torch.compile`` compiles: the error is no part of a graph."""
    said: dict[str, Any] = {
        "reason": "direct feedback alignment keeps the error outside of the graph"
    }
    if "reason" not in signature(torch.compiler.disable).parameters:
        said = {}  # torch 2.4 takes none
    return cast("_Function", torch.compiler.disable(function, **said))


@dataclass(slots=True)
class _Channel:
    """What the head and the feedback points share."""

    head: nn.Module
    head_path: str
    points: tuple[str, ...]
    shared: bool
    scale: DirectScale
    seed: int
    error: Tensor | None = None
    widths: dict[str, int] = field(default_factory=dict[str, int])

    def fit(self, error: Tensor) -> None:
        """Draw the matrices if there are none yet; else check that they fit."""
        missing = [point for point in self.points if point not in self.widths]
        if missing:
            raise ConfigError(
                f"The feedback point {quoted(missing[0])} did not run before "
                f"{quoted(self.head_path)}: no error can reach it."
            )
        widths = [self.widths[point] for point in self.points]
        shape = (max(widths) if self.shared else sum(widths), error.shape[-1])
        matrix = cast("Tensor | None", self.head.direct_feedback)
        if matrix is None:
            generator = torch.Generator().manual_seed(self.seed)
            drawn = 2 * torch.rand(shape, generator=generator, dtype=torch.float32) - 1
            like = next(self.head.parameters(), error)
            self.head.direct_feedback = drawn.to(device=error.device, dtype=like.dtype)
        elif matrix.shape != shape:
            raise ConfigError(
                f"The matrix of direct feedback on {quoted(self.head_path)} is of shape "
                f"{tuple(matrix.shape)}; these feedback points need {shape}."
            )

    def keep(self, error: Tensor) -> None:
        """Keep the error; called by the backward pass."""
        self.error = error

    def fed_back(self, path: str, grad: Tensor) -> Tensor:
        """Return what reaches a point in place of its gradient."""
        if self.error is None:
            raise ConfigError(
                f"No error came through {quoted(self.head_path)} before {quoted(path)} needed "
                "it: the loss must come from the head's output, and the head must not be "
                "recomputed."
            )
        if self.error.shape[:-1] != grad.shape[:-1]:
            raise ConfigError(
                f"An error of shape {tuple(self.error.shape)} does not fit the feedback point "
                f"{quoted(path)}, of shape {tuple(grad.shape)}: all axes but the last must agree."
            )
        width, index = grad.shape[-1], self.points.index(path)
        start = 0 if self.shared else sum(self.widths[name] for name in self.points[:index])
        matrix = cast("Tensor", self.head.direct_feedback)[start : start + width]
        found = functional.linear(self.error, matrix.to(self.error.dtype)) * self._factor(width)
        return found.to(grad.dtype)

    def _factor(self, width: int) -> float:
        """Return what turns numbers from [-1, 1) into a matrix of the scale."""
        error_width = cast("Tensor", self.head.direct_feedback).shape[1]
        match self.scale:
            case "width":
                return width**-0.5
            case "xavier":
                return (6 / (width + error_width)) ** 0.5
            case "kaiming":
                return (6 / error_width) ** 0.5


@final
class FeedbackPoint(nn.Module):
    """The role of a module whose output gets the error in place of its gradient."""

    error_channel: _Channel
    point_path: str

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """Do what the module does."""
        output = super().forward(*inputs, **options)
        if isinstance(output, tuple):  # the hidden states come first
            return (_receive(output[0], self.error_channel, self.point_path), *output[1:])
        return _receive(output, self.error_channel, self.point_path)


@_outside_of_compiled_graphs
def _receive(hidden: Tensor, channel: _Channel, path: str) -> Tensor:
    channel.widths[path] = hidden.shape[-1]
    # A tensor of its own: others may read the same hidden states, and keep their gradient.
    received = hidden.clone()
    if received.requires_grad:
        received.register_hook(lambda grad: channel.fed_back(path, grad))
    return received


@final
class ErrorSource(MatrixHolder):
    """The role of the head: where the error is taken, and where the matrices are kept."""

    matrix_name: ClassVar[str] = "direct_feedback"
    direct_feedback: Tensor | None
    head_channel: _Channel
    error_place: ErrorPlace

    def forward(self, x: Float[Tensor, "*tokens width"]) -> Float[Tensor, "*tokens outputs"]:
        """Do what the head does."""
        if self.error_place == "before_head":
            return super().forward(_send(x.view_as(x), self.head_channel))
        return _send(super().forward(x), self.head_channel)


@_outside_of_compiled_graphs
def _send(values: Tensor, channel: _Channel) -> Tensor:
    channel.fit(values)
    channel.error = None  # never one of an earlier pass
    if values.requires_grad:
        values.register_hook(channel.keep)
    return values


def direct_feedback_changes(
    model: nn.Module,
    direct: DirectFeedback,
    *,
    scale: DirectScale,
    generator: torch.Generator | None,
) -> list[Change]:
    """List what direct feedback alignment changes in a model.

    Args:
        model: The model.
        direct: Where the error is taken, and where it arrives.
        scale: Entries are even in [-1, 1) times: ``width``, one over the root of the point's width
            (Launay et al.); ``xavier``, ``kaiming``: the bounds of ``torch.nn.init``.
        generator: Where the seed of the matrices comes from; None for PyTorch's own.

    Returns:
        The changes, the head's first.

    Raises:
        ConfigError: If there is no point, or a module is missing or named twice.
    """
    error_place = check_choice("place of the error", direct.error, ERRORS)
    points, head = tuple(direct.points), direct.head
    if not points:
        raise ConfigError(
            "Direct feedback alignment needs feedback_points: the paths of the modules whose "
            "outputs get the error, such as the blocks."
        )
    if len({*points, head}) != len(points) + 1:
        raise ConfigError("The feedback points and the head must all be different modules.")
    channel = _Channel(
        head=find_module(model, head),
        head_path=head,
        points=points,
        shared=direct.shared,
        scale=scale,
        seed=int(torch.randint(2**62, (), generator=generator)),
    )
    source = Change(
        path=head,
        module=channel.head,
        role=ErrorSource,
        settings={"head_channel": channel, "error_place": error_place},
        buffers={"direct_feedback": None},
    )
    return [
        source,
        *(
            Change(
                path=path,
                module=find_module(model, path),
                role=FeedbackPoint,
                settings={"error_channel": channel, "point_path": path},
            )
            for path in points
        ),
    ]
