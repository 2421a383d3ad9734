"""Proof by autograd's graph that nothing is left on the way back that a rule should have changed.

The graph of a pass lists each step through which a gradient goes back. Under a rule every step must
be linear, or a product with one differentiated factor, or one of the rule's own: a norm, a gate or
a softmax that the rule has missed shows as a step that is none of these.
"""

import re
from collections.abc import Iterator, Mapping

from torch.autograd.graph import GradientEdge, Node

_ADDING = {"Add", "Sub", "Neg", "Sum", "Mean", "Cat", "Stack"}
_PLACING = {
    *("View", "UnsafeView", "ReshapeAlias", "Alias", "AsStrided", "Squeeze", "Unsqueeze", "Expand"),
    *("Transpose", "T", "Permute", "Slice", "Select", "Split", "SplitWithSizes", "Unbind", "Clone"),
    *("ToCopy", "Copy", "torch::autograd::AccumulateGrad"),
}
_ONE_SIDED = {"Mul", "Mm", "Bmm", "Addmm", "Baddbmm"}
_OWN = {"FixedScale", "FixedRatio", "HalfEach"}
_NORMALISING = {
    *("Rsqrt", "Sqrt", "NativeLayerNorm", "FusedRmsNorm", "NativeGroupNorm", "NativeBatchNorm"),
    *("LinalgVectorNorm", "Norm", "Var", "Std"),
}
_NAME = re.compile(r"^(?P<step>.+?)(?:Backward\d*)?$")
_VALUE = 2  # the place of v among what the fused attention functions take


def steps_left(start: Node, leaps: Mapping[Node, GradientEdge]) -> list[str]:
    """Walk a graph back, and list the steps that are neither linear nor a rule's.

    Args:
        start: Where to begin.
        leaps: Parts of the graph that are left out: from the step that ends one to where it began.

    Returns:
        What autograd calls the steps, each once, in the order in which they were found.
    """
    return list({node.name(): None for node in _walk(start, leaps) if not _is_linear(node)})


def norms_left(start: Node) -> list[str]:
    """Walk a graph back, and list the steps that only norms take.

    Args:
        start: Where to begin.

    Returns:
        What autograd calls the steps, each once.
    """
    return list({node.name(): None for node in _walk(start, {}) if _step(node) in _NORMALISING})


def _walk(start: Node, leaps: Mapping[Node, GradientEdge]) -> Iterator[Node]:
    waiting, seen = [start], {start}
    while waiting:
        node = waiting.pop()
        if node in leaps:
            following = [leaps[node].node]
        else:
            following = [each for each, _ in node.next_functions if each is not None]
            yield node
        fresh = [each for each in following if each not in seen]
        seen.update(fresh)
        waiting.extend(fresh)


def _step(node: Node) -> str:
    match = _NAME.match(node.name())
    return node.name() if match is None else match["step"]


def _is_linear(node: Node) -> bool:
    step = _step(node)
    places = [place for place, (each, _) in enumerate(node.next_functions) if each is not None]
    if step.startswith("ScaledDotProduct"):
        return places == [_VALUE]
    if step == "Div":
        return places == [0]
    return step in _ADDING | _PLACING | _OWN or (step in _ONE_SIDED and len(places) == 1)
