"""Whether what enters a block is read by that block alone.

Some models read the embeddings, or what a block gives, once more further on: for other inputs of
later layers (Gemma-4), say. A tap where the block is entered is then not where the tensor begins,
and a graph that starts there misses the other readers. So the gradient of all that enters is held
against the part that returns through the block.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from backlight.models.backward import explaining, random_start, rooted
from backlight.models.discovery.observing import observe
from backlight.models.discovery.wiring import Discovery
from backlight.models.proof import is_close
from backlight.models.sites import Site, Tap
from backlight.models.subject import Subject
from backlight.models.taps import tapping


@dataclass(slots=True)
class _Edges:
    """Where in the graph tensors are, by the names of their sites."""

    found: dict[str, GradientEdge] = field(default_factory=dict[str, GradientEdge])

    def visit(self, site: Site, tensor: Tensor) -> Tensor:
        """Take note of a tensor; where no graph leads to it, one begins."""
        if tensor.is_floating_point():
            tensor = rooted(tensor)
        self.found[site.name] = get_gradient_edge(tensor)
        return tensor


def read_elsewhere(subject: Subject, found: Discovery, tokens: Int[Tensor, "_ _"]) -> set[str]:
    """Find the blocks that are not the only readers of what they are given.

    Args:
        subject: A model whose sites are the paths of its modules.
        found: How it is wired.
        tokens: Some tokens.

    Returns:
        The paths of these blocks.
    """
    begin = [
        Site(name=f"embedding {path}", tap=Tap(module=path, side="output"), width=None)
        for path, module in subject.model.named_modules()
        if isinstance(module, nn.Embedding)
    ]
    whole = [_entry(block, "input") for block in found.blocks]
    part = [_entry(block, "branch") for block in found.blocks]
    edges = _Edges()
    with tapping(subject, (*begin, *whole, *part), edges.visit), torch.enable_grad():
        output = subject.forward(tokens)
        names = [site.name for site in (*whole, *part) if site.name in edges.found]
        with explaining(subject.name):
            ends = [edges.found[name] for name in names]
            gradients = dict(
                zip(
                    names,
                    torch.autograd.grad(output, ends, random_start(output), allow_unused=True),
                    strict=True,
                )
            )
    return {block for block in found.blocks if not _is_alone(block, gradients)}


def _entry(block: str, side: str) -> Site:
    tap = Tap(module=block, side="input" if side == "input" else "branch")
    return Site(name=f"{side} {block}", tap=tap, width=None)


def _is_alone(block: str, gradients: Mapping[str, Tensor | None]) -> bool:
    whole, part = gradients.get(f"input {block}"), gradients.get(f"branch {block}")
    return whole is not None and part is not None and is_close(part, whole)


def with_whole_entries(
    subject: Subject, plain: Subject, found: Discovery, tokens: Int[Tensor, "_ _"]
) -> Subject:
    """Tap what enters blocks where no reader of it is missed.

    Args:
        subject: A model with its canonical sites.
        plain: The same with the paths of its modules alone.
        found: How it is wired, proven.
        tokens: Some tokens.

    Returns:
        The subject; without a name for its wiring if a stream is read past its block.
    """
    elsewhere = read_elsewhere(plain, found, tokens)
    if not elsewhere:
        return subject
    source = source_of(plain, found, tokens)
    sites = at_the_source(subject.sites.values(), found, elsewhere, source)
    return replace(subject, sites={site.name: site for site in sites}, wiring=None)


def at_the_source(
    sites: Iterable[Site], found: Discovery, elsewhere: Collection[str], source: Tap | None
) -> Iterator[Site]:
    """Tap what enters such a block where it is given, so that no reader is missed.

    Args:
        sites: The sites of a model, in the order in which their tensors pass.
        found: How it is wired.
        elsewhere: The blocks that are not the only readers of what they are given.
        source: The module that gives what the first block is given, None if none does.

    Yields:
        All sites; those without such a place have that as their problem.
    """
    entered = {f"layers.{number}.resid.pre": block for number, block in enumerate(found.blocks)}
    entered["embed.out"] = found.blocks[0]
    before: Tap | None = source
    for site in sites:
        if site.name.endswith(".resid.post"):
            before = site.tap
        if entered.get(site.name) not in elsewhere:
            yield site
        elif before is not None:
            yield replace(site, tap=before)
        else:
            problem = (
                f"{site.name} cannot be tapped: other modules than {entered[site.name]} read it, "
                "too, and no module gives it."
            )
            yield replace(site, problem=problem)


def source_of(subject: Subject, found: Discovery, tokens: Int[Tensor, "_ _"]) -> Tap | None:
    """Find the module that gives what the first block is given.

    Args:
        subject: A model whose sites are the paths of its modules.
        found: How it is wired.
        tokens: Some tokens.

    Returns:
        Where it gives that; None if no module outside of the blocks does.
    """
    first = found.blocks[0]
    paths = [path for path, _ in subject.model.named_modules() if path]
    seen = observe(subject, tokens, paths, {found.width})
    given = seen.given[first]
    gave = [
        passing
        for passing in seen.gave.values()
        if passing.place < given.place and passing.rows.equal(given.rows)
    ]
    return min(gave, key=lambda passing: passing.place).tap if gave else None
