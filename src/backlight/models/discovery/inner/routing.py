"""Experts: the logits of their router, and the parts that they and a shared expert give.

Some module is handed, for each token, which experts it is for and with which weights. Logits are
those of the router if they are a linear map of what its module is given, if the experts that are
chosen are those with the largest logits (or, with an offset that balances them, if their weights
have the order of their logits), and if all that returns through the module passes the logits:
the gradient of what it is given is that of the logits times the map.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn.functional import linear

from backlight.models.backward import explaining, random_start, rooted
from backlight.models.discovery.observing import Observation, observe
from backlight.models.discovery.wiring import Discovery, Layer, Term
from backlight.models.inputs import given_to, with_given
from backlight.models.lending import borrowed
from backlight.models.outputs import Member, members, with_member
from backlight.models.proof import is_close
from backlight.models.sites import Tap
from backlight.models.subject import Subject
from backlight.models.unknown.trying import hookable

_NOT_HANDED = "no module in it is handed which experts are chosen, and with which weights"
_NO_ORDER = (
    "no logits were found that are a linear map of what is routed and whose largest are the "
    "experts that are chosen"
)
_PAST = "what is routed reaches the choice of experts past its logits, too"


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """The experts of one block.

    Attributes:
        logits: Where the router's logits pass, a number for each expert.
        num_experts: How many there are.
        experts: The path of the module that is handed the choice.
        routed: Where what the experts give passes, if something else is added to it.
        shared: Where that something passes, or a sentence that says why that is not known.
    """

    logits: Tap
    num_experts: int
    experts: str
    routed: Tap | None = None
    shared: Tap | str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice:
    """Which experts tokens are for, as some module is handed it: ``[tokens, chosen]``."""

    module: str
    experts: Int[Tensor, "tokens chosen"]
    weights: Float[Tensor, "tokens chosen"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scores:
    """Numbers of a module that could be logits of experts, with the linear map that gives them."""

    module: str
    member: Member
    numbers: Float[Tensor, "tokens experts"]
    map: Float[Tensor, "experts width"]


@dataclass(slots=True)
class _Passed:
    """What passed in a pass."""

    num_tokens: int
    choices: list[_Choice] = field(default_factory=list[_Choice])
    scores: list[_Scores] = field(default_factory=list[_Scores])

    def given(
        self, path: str, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        """Note a choice of experts that a module is handed."""
        del module
        tensors = [each for each in (*args, *kwargs.values()) if isinstance(each, Tensor)]
        rows = [each for each in tensors if self._has_row_for_each(each)]
        for experts in rows:
            if experts.dtype == torch.long:
                weights = [e for e in rows if e.shape == experts.shape and e.is_floating_point()]
                if weights:
                    chosen = experts.reshape(self.num_tokens, -1).cpu()
                    weight = weights[0].detach().double().reshape(self.num_tokens, -1).cpu()
                    self.choices.append(_Choice(module=path, experts=chosen, weights=weight))

    def gave(
        self,
        path: str,
        module: nn.Module,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        output: object,
    ) -> None:
        """Note what a module gives that is a linear map of what it is given."""
        x = given_to(args, kwargs)
        if not isinstance(x, Tensor) or not self._has_row_for_each(x):
            return
        x = x.detach().double().reshape(self.num_tokens, -1).cpu()
        for member, tensor in members(output):
            if tensor.is_floating_point() and self._has_row_for_each(tensor):
                numbers = tensor.detach().double().reshape(self.num_tokens, -1).cpu()
                map_ = _map(module, x, numbers, tensor.dtype)
                if map_ is not None:
                    found = _Scores(module=path, member=member, numbers=numbers, map=map_)
                    self.scores.append(found)

    def _has_row_for_each(self, tensor: Tensor) -> bool:
        return tensor.dim() > 1 and tensor.shape[:-1].numel() == self.num_tokens


def _map(module: nn.Module, x: Tensor, numbers: Tensor, dtype: torch.dtype) -> Tensor | None:
    """Find the parameter of a module with which it gives these numbers."""
    own = [parameter.detach() for parameter in module.parameters()]
    shape = (numbers.shape[1], x.shape[1])
    biases = [None, *(each for each in own if each.shape == shape[:1])]
    for weight in own:
        if weight.shape == shape:
            weight = weight.double().cpu()
            for bias in biases:
                found = linear(x, weight, None if bias is None else bias.double().cpu())
                if is_close(found.to(dtype), numbers.to(dtype)):
                    return weight
    return None


def find_routing(
    subject: Subject, found: Discovery, tokens: Int[Tensor, "batch positions"]
) -> tuple[dict[str, Routing | str], Observation | None]:
    """Find the routers of all blocks with experts.

    Args:
        subject: The model.
        found: How it is wired.
        tokens: Some tokens.

    Returns:
        By the path of each block with experts its routing, or a sentence that says why it is not
        known; and what passed in these blocks, None if there are none.
    """
    layers = [layer for layer in found.layers if isinstance(layer, Layer)]
    terms = {layer.block: list(_standing_alone(layer)) for layer in layers}
    blocks = [block for block, own in terms.items() if _may_route(subject.model, block, own)]
    if not blocks:
        return {}, None
    # Backwards, too, so that an order that comes about by chance is all but ruled out.
    passed, seen = _pass(subject, blocks, torch.cat([tokens, tokens.flip(1)]), found.width)
    known: dict[str, Routing | str] = {}
    candidates: dict[str, list[tuple[_Choice, _Scores]]] = {}
    for block in blocks:
        choices = [c for c in passed.choices if c.module.startswith(f"{block}.")]
        scores = [s for s in passed.scores if s.module.startswith(f"{block}.")]
        sizes = {c.module: _sizes(subject.model, c.module) for c in choices}
        fitting = [(c, s) for c in choices for s in scores if _are_chosen(c, s, sizes[c.module])]
        if fitting:
            candidates[block] = fitting
        else:
            known[block] = _NO_ORDER if choices else _NOT_HANDED
    if candidates:
        known |= _proven(subject, candidates, tokens[:1])
    return known, seen


def _sizes(model: nn.Module, experts: str) -> set[int]:
    """List how many experts a module may hold: matrices in a stack, or modules in a list."""
    module = model.get_submodule(experts)
    stacks = {len(parameter) for parameter in module.parameters() if parameter.dim() > 1}
    return stacks | {len(p) for p in module.modules() if isinstance(p, nn.ModuleList)}


def _standing_alone(layer: Layer) -> Iterator[Term]:
    return (term for addition in layer.additions for term in addition.terms if term.mixes == "none")


def _may_route(model: nn.Module, block: str, terms: Sequence[Term]) -> bool:
    """Whether what stands alone may have experts: a stack of matrices, or a list of modules."""
    for term in terms:
        module = model.get_submodule(term.out.module)
        has_stack = any(parameter.dim() == 3 for parameter in module.parameters())
        if has_stack or any(isinstance(part, nn.ModuleList) for part in module.modules()):
            return True
    # Gemma-4's experts lie beside the MLP to whose output theirs is added.
    names = (name for name, _ in model.get_submodule(block).named_modules())
    return bool(terms) and any(name.endswith("experts") for name in names)


def _pass(
    subject: Subject, blocks: Sequence[str], tokens: Tensor, width: int
) -> tuple[_Passed, Observation]:
    passed = _Passed(tokens.numel())
    paths = [
        path
        for path, module in subject.model.named_modules()
        if hookable(module) and any(path.startswith(f"{block}.") for block in blocks)
    ]
    with borrowed(subject.model), ExitStack() as stack:
        for path in paths:
            module = subject.model.get_submodule(path)
            before, after = partial(passed.given, path), partial(passed.gave, path)
            stack.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
            stack.callback(module.register_forward_hook(after, with_kwargs=True).remove)
        seen = observe(subject, tokens, paths, {width})
    return passed, seen


def _are_chosen(choice: _Choice, scores: _Scores, sizes: Collection[int]) -> bool:
    """Whether experts are chosen by these numbers: the largest, or by weights in their order."""
    num_chosen, num_experts = choice.experts.shape[1], scores.numbers.shape[1]
    if num_experts <= int(choice.experts.max()) or num_experts <= num_chosen:
        return False
    chosen = scores.numbers.gather(1, choice.experts)
    rest = scores.numbers.scatter(1, choice.experts, float("-inf"))
    if bool((chosen.amin(1) >= rest.amax(1)).all()):
        return True
    by_logit = choice.weights.gather(1, chosen.argsort(dim=1))
    is_ordered = num_chosen > 1 and bool((by_logit.diff(dim=1) > 0).all())
    return is_ordered and num_experts in sizes


@dataclass(slots=True)
class _Edges:
    """Where in the graph is what routers are given, their logits, and these as others see them."""

    given: dict[str, GradientEdge] = field(default_factory=dict[str, GradientEdge])
    logits: dict[str, GradientEdge] = field(default_factory=dict[str, GradientEdge])
    returned: dict[str, GradientEdge] = field(default_factory=dict[str, GradientEdge])

    def enter(
        self, path: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, Any]:
        """Give a module what it is given as an alias with a place of its own in the graph."""
        del module
        given = given_to(args, kwargs)
        assert isinstance(given, Tensor), "it was a tensor when the map was found"
        x = given.view_as(given) if given.requires_grad else rooted(given)
        self.given[path] = get_gradient_edge(x)
        return with_given(args, kwargs, x)

    def leave(
        self, path: str, member: Member, module: nn.Module, args: tuple[Any, ...], output: Any
    ) -> Any:
        """Let others see the logits as an alias of what the module itself has used."""
        del module, args
        logits = dict(members(output))[member]
        self.logits[path] = get_gradient_edge(logits)
        alias = logits.view_as(logits)
        self.returned[path] = get_gradient_edge(alias)
        return with_member(output, member, alias)


def _proven(
    subject: Subject, candidates: Mapping[str, Sequence[tuple[_Choice, _Scores]]], tokens: Tensor
) -> dict[str, Routing | str]:
    """Prove by gradients that all that returns through a router passes its logits."""
    edges = _Edges()
    scores = {s.module: s for pairs in candidates.values() for _, s in pairs}
    with borrowed(subject.model), ExitStack() as stack, torch.enable_grad():
        for path, each in scores.items():
            module = subject.model.get_submodule(path)
            before, after = partial(edges.enter, path), partial(edges.leave, path, each.member)
            stack.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
            stack.callback(module.register_forward_hook(after).remove)
        output = subject.forward(tokens)
        ends = [e[path] for path in scores for e in (edges.given, edges.logits, edges.returned)]
        with explaining(subject.name):
            gradients = torch.autograd.grad(output, ends, random_start(output), allow_unused=True)
    by_path = {path: gradients[3 * place : 3 * place + 3] for place, path in enumerate(scores)}
    known: dict[str, Routing | str] = {}
    for block, pairs in candidates.items():
        found = [r for c, s in pairs if (r := _routing(c, s, by_path[s.module])) is not None]
        # One whose logits others read as they are returned can be changed there, too.
        known[block] = min(found, key=lambda r: r.logits.inside) if found else _PAST
    return known


def _routing(
    choice: _Choice, scores: _Scores, gradients: Sequence[Tensor | None]
) -> Routing | None:
    given, logits, returned = gradients
    if given is None or logits is None:
        return None
    through = logits.double().reshape(-1, logits.shape[-1]).cpu() @ scores.map
    if not is_close(through.to(given.dtype), given.reshape(through.shape).cpu()):
        return None
    tap = Tap(module=scores.module, side="output", member=scores.member)
    inside = returned is None or not is_close(returned, logits)
    return Routing(
        logits=replace(tap, inside=inside),
        num_experts=scores.numbers.shape[1],
        experts=choice.module,
    )
