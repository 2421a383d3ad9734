"""Canonical sites for a model of Transformers that is not in the table, found by arithmetic."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from torch import Tensor, nn
from transformers import PreTrainedModel

from backlight.models.discovery.experts import with_parts
from backlight.models.discovery.finding import discover, some_tokens
from backlight.models.discovery.heads import find_heads
from backlight.models.discovery.inner import with_heads, with_routing
from backlight.models.discovery.naming import sites_of
from backlight.models.discovery.reads import at_the_source, read_elsewhere, source_of
from backlight.models.discovery.routing import find_routing
from backlight.models.discovery.wiring import Discovery, HeadForm, Layer
from backlight.models.families import Wiring
from backlight.models.head import Head
from backlight.models.loading.attention import tap_attention
from backlight.models.outputs import member_of
from backlight.models.proof import prove_head
from backlight.models.sites import Site, Tap
from backlight.models.subject import Subject


def with_discovered(subject: Subject, model: PreTrainedModel) -> Subject:
    """Give a subject the canonical sites that arithmetic finds, besides the paths of its modules.

    Args:
        subject: The model, with module paths as sites and logits as its output.
        model: The same, as Transformers has it.

    Returns:
        The subject with more sites, and its head where that was found; ``facts`` say why there are
        none if no list of blocks was found.
    """
    vocabulary = int(model.config.get_text_config(decoder=True).vocab_size)
    found = discover(subject, vocabulary)
    if isinstance(found, str):
        return replace(subject, facts={**subject.facts, "wiring": f"not found: {found}"})
    subject = replace(subject, tap_attention=partial(tap_attention, model))
    canonical, elsewhere = _canonical(subject, found, vocabulary)
    # A module's output that has a name of ours keeps its path as a second name of the same site.
    known = {
        site.tap.module
        for site in canonical.values()
        if site.transformers is not None and site.problem is None
    }
    paths = {name: site for name, site in subject.sites.items() if name not in known}
    subject = replace(
        subject,
        sites={**canonical, **paths},
        num_layers=len(found.blocks),
        wiring=None if elsewhere else _wiring(found),
    )
    return subject if found.head is None else _with_head(subject, found.head, vocabulary)


def _canonical(
    subject: Subject, found: Discovery, vocabulary: int
) -> tuple[dict[str, Site], set[str]]:
    """List the canonical sites, and the blocks that are not the only readers of their input."""
    tokens = some_tokens(subject, vocabulary, first=9)
    heads = find_heads(subject, found, tokens)
    elsewhere = read_elsewhere(subject, found, tokens[:1])
    source = source_of(subject, found, tokens[:1]) if elsewhere else None
    sites = at_the_source(sites_of(found), found, elsewhere, source)
    sites = with_heads(sites, found, heads)
    routing = with_parts(subject, found, tokens, find_routing(subject, found, tokens))
    sites = with_routing(sites, found, routing)
    return {site.name: site for site in sites}, elsewhere


def _wiring(found: Discovery) -> Wiring | None:
    """Name the wiring, if all layers share one and gradients can be told apart in each."""
    wirings: set[Wiring | None] = {
        layer.wiring if isinstance(layer, Layer) and layer.is_closed else None
        for layer in found.layers
    }
    is_plain = all(
        isinstance(layer, Layer)
        and [term.mixes for addition in layer.additions for term in addition.terms]
        == ["attention", "none"]
        for layer in found.layers
    )
    return wirings.pop() if len(wirings) == 1 and is_plain else None


def _with_head(subject: Subject, form: HeadForm, vocabulary: int) -> Subject:
    """Let the subject end before its head, which is read as numbers and proven."""
    module = subject.model.get_submodule(form.module)
    trunk = subject.model.get_submodule(form.trunk.module)
    hooks = (module._forward_hooks, module._forward_pre_hooks)  # pyright: ignore[reportPrivateUsage]
    assert isinstance(module, nn.Linear)
    if "input_ids" not in inspect.signature(trunk.forward).parameters or any(hooks):
        return subject
    logits = Site(
        name="logits",
        tap=Tap(module=form.module, side="logits"),
        width=module.out_features,
        transformers=form.module if form.scale == 1.0 and form.cap is None else None,
    )
    sites = {name: site for name, site in subject.sites.items() if name != form.module}
    headed = replace(
        subject,
        sites={**sites, "logits": logits},
        forward=_hidden_states_of(trunk, form.trunk),
        head=Head(weight=module.weight, bias=module.bias, scale=form.scale, cap=form.cap),
    )
    prove_head(headed, some_tokens(headed, vocabulary, first=11), subject.forward)
    return headed


def _hidden_states_of(trunk: nn.Module, tap: Tap) -> Callable[[Tensor], Tensor]:
    def forward(input_ids: Tensor) -> Tensor:
        output = trunk(input_ids=input_ids, use_cache=False)
        member = 0 if tap.member is None and isinstance(output, tuple) else tap.member
        hidden = member_of(output, member)
        assert isinstance(hidden, Tensor)
        return hidden

    return forward
