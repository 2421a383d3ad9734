"""Running a model from one of its blocks on, with what that block was given before."""

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from backlight.errors import ModelError, UnsupportedSiteError
from backlight.models.lending import borrowed
from backlight.models.proof import is_close, probe_tokens
from backlight.models.reading import reach_of
from backlight.models.sites import Site
from backlight.models.subject import Subject
from backlight.models.taps import per_token, tapping
from backlight.models.unknown.trying import complaining
from backlight.models.wiring.families import family_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """The blocks of a model, of which the first few can be left out.

    Attributes:
        modules: The blocks in their order.
        num_members: They return tuples of so many members, the first of which is the residual
            stream; None if they return it alone.
        axes: Which axes of the stream between them are batch and positions.
    """

    modules: tuple[nn.Module, ...]
    num_members: int | None
    axes: tuple[int, int] = (0, 1)

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
        blocks = _blocks_of(subject)
        if isinstance(blocks, str):
            raise UnsupportedSiteError(
                f"{blocks}, so it cannot be run from one of its blocks on; use --splice error, "
                "which needs whole passes only."
            )
        return blocks

    @staticmethod
    def found_in(subject: Subject) -> "Blocks | None":
        """Find a subject's blocks, if it can be run from each of them on.

        Args:
            subject: The model.

        Returns:
            Its blocks; None if they are not known, or need more than what the one before gave.
        """
        blocks = _blocks_of(subject)
        return None if isinstance(blocks, str) else blocks

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
        hidden = hidden.movedim((0, 1), self.axes)
        output: Any = hidden
        if self.num_members is not None:
            output = (hidden, *[None] * (self.num_members - 1))
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


def _blocks_of(subject: Subject) -> Blocks | str:
    """Find a subject's blocks, or say why it cannot be run from one of them on."""
    names = [f"layers.{layer}.resid.pre" for layer in range(subject.num_layers)]
    sites = [subject.sites[name] for name in names if name in subject.sites]
    if not names or len(sites) < len(names):
        return f"The blocks of {subject.name} are not known"
    elsewhere = [layer for layer, site in enumerate(sites) if site.tap.side != "input"]
    if elsewhere:  # what enters there is read by others, too
        return _needs_more(subject, max(1, elsewhere[0]))
    modules = tuple(subject.model.get_submodule(site.tap.module) for site in sites)
    returned = _returned(subject, modules[0])
    if not isinstance(returned, (Tensor, tuple)):
        return f"The blocks of {subject.name} give a {type(returned).__name__}"
    num_members = len(cast("tuple[Any, ...]", returned)) if isinstance(returned, tuple) else None
    blocks = Blocks(modules=modules, num_members=num_members, axes=sites[0].tap.axes)
    if family_of(subject.model) is not None:
        return blocks
    return _why_not(subject, blocks, sites) or blocks


def _why_not(subject: Subject, blocks: Blocks, sites: Sequence[Site]) -> str | None:
    """Say why a model that is not in the table cannot be run from a block on: it is tried with all.

    Args:
        subject: The model.
        blocks: Its blocks.
        sites: Where the stream enters each.

    Returns:
        A sentence; None if it can.
    """
    reach = reach_of(subject)
    assert reach.vocabulary is not None
    tokens = probe_tokens(subject, reach.vocabulary)[:, : reach.positions]
    forward = complaining(subject.forward, subject.name)
    seen: dict[str, Tensor] = {}

    def visit(site: Site, tensor: Tensor) -> Tensor:
        seen[site.name] = per_token(site, tensor.clone(), tokens.shape)
        return tensor

    with borrowed(subject.model), torch.no_grad():
        with tapping(subject, sites, visit):
            expected = subject.forward(tokens)
        # What a block may have written down for later ones is then of other tokens, and stays so
        # for those that are left out, as long as the last block comes first.
        subject.forward(tokens.flip(1))
        for layer, site in reversed(list(enumerate(sites))):
            reason = _needs_more(subject, layer)
            try:
                with blocks.entering(layer, seen[site.name]):
                    found = forward(tokens)
            except ModelError as error:
                return f"{reason} ({error})"
            if not is_close(found, expected):
                return reason
    return None


def _returned(subject: Subject, block: nn.Module) -> object:
    """Run one token as far as the first block, to see what it returns."""
    seen: list[object] = []

    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        del module, inputs
        seen.append(output)
        raise _SeenError

    handle = block.register_forward_hook(hook)
    try:
        with suppress(_SeenError), borrowed(subject.model), torch.no_grad():
            subject.forward(torch.zeros(1, 1, dtype=torch.long, device=subject.device))
    finally:
        handle.remove()
    return seen[0]


def _needs_more(subject: Subject, layer: int) -> str:
    return f"Block {layer} of {subject.name} needs more than what the one before it gave"
