"""Hooks that show the tensors of some sites to a visitor, and are gone afterwards.

Every pass that measures something runs inside of ``tapping``, so that is where the model is
borrowed: frozen and in evaluation mode for as long as it is tapped, and as it was afterwards.
"""

from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from jaxtyping import Shaped
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from backlight.errors import UnsupportedSiteError
from backlight.models.lending import borrowed
from backlight.models.outputs import member_of, with_member
from backlight.models.sites import Site, refuse_problems
from backlight.models.subject import AttentionCall, AttentionTap, Subject

Visitor = Callable[[Site, Tensor], Tensor]
"""Is shown a site and its tensor as the model has it, and says what takes the tensor's place."""

_INWARD = ("input", "branch")
_ATTENTION = ("query", "key", "value")


@contextmanager
def tapping(subject: Subject, sites: Iterable[Site], visit: Visitor) -> Generator[None, None, None]:
    """Show each site's tensor to a visitor while the context lasts, and lend it the model.

    Args:
        subject: The model.
        sites: What to tap.
        visit: Called in the order of the forward pass, once for each site.

    Yields:
        Nothing; the hooks are removed at the end, also if the body fails.

    Raises:
        UnsupportedSiteError: If a site is never held (``logits``), was found at load to hold
            nothing that can be looked at, or a module's input or output is not a tensor.
    """
    sites = list(sites)
    refuse_problems(sites)
    outward: defaultdict[str, list[Site]] = defaultdict(list)
    inward: defaultdict[str, list[Site]] = defaultdict(list)
    attention: defaultdict[str, list[Site]] = defaultdict(list)
    for site in sites:
        if site.tap.side == "logits":
            raise UnsupportedSiteError(
                "The full logits are never held, so they cannot be tapped: the gradient there is "
                "softmax minus one-hot. Ask for final_norm.out, which they are computed from."
            )
        kind = inward if site.tap.side in _INWARD else outward
        (attention if site.tap.side in _ATTENTION else kind)[site.tap.module].append(site)
    with borrowed(subject.model), ExitStack() as stack:
        for path, members in outward.items():
            module = subject.model.get_submodule(path)
            hook = _output_hook(members, visit)
            _hold(stack, module.register_forward_hook(hook, with_kwargs=True))
        for path, members in inward.items():
            module = subject.model.get_submodule(path)
            # A branch is an alias of what the input taps leave, so the inputs come first.
            members.sort(key=lambda site: site.tap.side == "branch")
            hook = _input_hook(members, visit)
            _hold(stack, module.register_forward_pre_hook(hook, with_kwargs=True))
        if attention:
            modules = {subject.model.get_submodule(path): path for path in attention}
            stack.enter_context(subject.tap_attention(_attention_hook(modules, attention, visit)))
        yield


def per_token(
    site: Site, tensor: Shaped[Tensor, "..."], batch: Sequence[int]
) -> Shaped[Tensor, "batch positions width"]:
    """Lay a site's tensor out as one row of numbers per token, heads side by side.

    Args:
        site: Which site the tensor (or its gradient) belongs to.
        tensor: As the model has it: ``[batch, positions, width]``, with a split or flattened
            width or batch, or with its axes in another order.
        batch: How many sequences and positions there are.

    Returns:
        The same numbers, ``[batch, positions, width]``.

    Raises:
        UnsupportedSiteError: If the tensor has no row of numbers for each token.
    """
    if site.tap.axes != (0, 1):
        tensor = tensor.movedim(site.tap.axes, (0, 1))
    if tuple(tensor.shape[:2]) != tuple(batch) and tensor.shape[0] != batch[0] * batch[1]:
        raise UnsupportedSiteError(
            f"{site.name} holds {list(tensor.shape)} numbers for {batch[0]} sequences of "
            f"{batch[1]} tokens: that is no row for each token."
        )
    return tensor.reshape(*batch, -1)


def _hold(stack: ExitStack, handle: RemovableHandle) -> None:
    stack.callback(handle.remove)


def _output_hook(sites: Sequence[Site], visit: Visitor) -> Callable[..., Any]:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        given = (*args, *kwargs.values())
        for site in sites:
            member = site.tap.member
            if member is None and isinstance(output, tuple):
                member = 0
            tensor = member_of(output, member)
            if not isinstance(tensor, Tensor):
                raise UnsupportedSiteError(
                    f"{site.name} cannot be tapped: {type(module).__name__} returns "
                    f"{type(output).__name__}, not a tensor. Name a module inside it."
                )
            if any(tensor is each for each in given):
                # An identity hands on its input, which others may read too; its output is its own.
                tensor = tensor.view_as(tensor)
            output = with_member(output, member, visit(site, tensor))
        return output

    return hook


def _input_hook(sites: Sequence[Site], visit: Visitor) -> Callable[..., Any]:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args and isinstance(args[0], Tensor):
            return (_visit_all(sites, args[0], visit), *args[1:]), kwargs
        if not args and isinstance(kwargs.get("hidden_states"), Tensor):
            tensor = _visit_all(sites, kwargs["hidden_states"], visit)
            return args, {**kwargs, "hidden_states": tensor}
        raise UnsupportedSiteError(
            f"{sites[0].name} cannot be tapped: {type(module).__name__} is not called with a "
            "tensor as its first argument or as hidden_states."
        )

    return hook


def _visit_all(sites: Sequence[Site], tensor: Tensor, visit: Visitor) -> Tensor:
    for site in sites:
        if site.tap.side == "branch":
            tensor = tensor.view_as(tensor)
        tensor = visit(site, tensor)
    return tensor


def _attention_hook(
    modules: Mapping[nn.Module, str], sites: Mapping[str, Sequence[Site]], visit: Visitor
) -> AttentionTap:
    def hook(call: AttentionCall) -> tuple[Tensor, Tensor, Tensor]:
        seen = {"query": call.query, "key": call.key, "value": call.value}
        for site in sites[modules[call.module]] if call.module in modules else ():
            seen[site.tap.side] = visit(site, seen[site.tap.side])
        return seen["query"], seen["key"], seen["value"]

    return hook
