"""Running a model from one of its blocks on, with what that block was given before."""

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from backlight.errors import UnsupportedSiteError
from backlight.models.lending import borrowed
from backlight.models.subject import Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """The blocks of a model, of which the first few can be left out.

    Attributes:
        modules: The blocks in their order.
        return_tuples: They return tuples whose first member is the residual stream.
    """

    modules: tuple[nn.Module, ...]
    return_tuples: bool

    @staticmethod
    def of(subject: Subject) -> "Blocks":
        """Find a subject's blocks.

        Args:
            subject: The model.

        Returns:
            Its blocks.

        Raises:
            UnsupportedSiteError: If it is not known what its blocks are.
        """
        blocks = Blocks.found_in(subject)
        if blocks is None:
            raise UnsupportedSiteError(
                f"The blocks of {subject.name} are not known, so it cannot be run from one of "
                "them on; use --splice error, which needs whole passes only."
            )
        return blocks

    @staticmethod
    def found_in(subject: Subject) -> "Blocks | None":
        """Find a subject's blocks, if it is known what they are.

        Args:
            subject: The model.

        Returns:
            Its blocks; None if they are not known.
        """
        names = [f"layers.{layer}.resid.pre" for layer in range(subject.num_layers)]
        if not names or not all(name in subject.sites for name in names):
            return None
        modules = [subject.model.get_submodule(subject.sites[name].tap.module) for name in names]
        return Blocks(modules=tuple(modules), return_tuples=_returns_tuple(subject, modules[0]))

    @contextmanager
    def entering(
        self, layer: int, hidden: Float[Tensor, "batch positions width"]
    ) -> Generator[None, None, None]:
        """Leave out the blocks before a layer while the context lasts.

        What comes before and after the blocks runs as ever; the layer is given ``hidden``. Before
        layer 0 there is no block to leave out, so there ``hidden`` is not used.

        Args:
            layer: The first block that runs.
            hidden: The residual stream before it, for the batch that will be run.

        Yields:
            Nothing; the blocks are whole again at the end, also if the body fails.
        """
        output = (hidden, None) if self.return_tuples else hidden
        with ExitStack() as stack:
            for block in self.modules[:layer]:
                # An attribute of the instance hides the method of its class, and needs no hook: a
                # block that is left out costs nothing, whatever is hooked into its parts.
                stack.callback(_put_back, block, vars(block).get("forward"))
                # Past __setattr__: a TransformerBridge hands attributes on to what it wraps.
                vars(block)["forward"] = lambda *_, **__: output
            yield


def _put_back(block: nn.Module, before: Callable[..., Any] | None) -> None:
    if before is None:
        del vars(block)["forward"]
    else:
        vars(block)["forward"] = before


class _SeenError(Exception):
    pass


def _returns_tuple(subject: Subject, block: nn.Module) -> bool:
    """Run one token as far as the first block, to see what it returns."""
    seen: list[bool] = []

    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        del module, inputs
        seen.append(isinstance(output, tuple))
        raise _SeenError

    handle = block.register_forward_hook(hook)
    try:
        with suppress(_SeenError), borrowed(subject.model), torch.no_grad():
            subject.forward(torch.zeros(1, 1, dtype=torch.long, device=subject.device))
    finally:
        handle.remove()
    return seen[0]
