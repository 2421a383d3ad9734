"""Canonical sites for a model of Transformers that is not in the table, found by arithmetic."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from torch import Tensor, nn
from transformers import PreTrainedModel

from backlight.models.discovery.canonical import with_canonical_sites
from backlight.models.discovery.finding import discover
from backlight.models.discovery.inner.sites import with_inner_sites
from backlight.models.discovery.proving import Proven
from backlight.models.discovery.remembering import key_of
from backlight.models.discovery.wiring import HeadForm
from backlight.models.loading.attention import tap_attention
from backlight.models.outputs import member_of
from backlight.models.proof import prove_head
from backlight.models.sites import Site, Tap
from backlight.models.subject import Subject
from backlight.models.wiring.head import Head


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
    key = key_of(model, model.config.to_json_string(use_diff=False))
    proven = discover(subject, vocabulary, key=key)
    if isinstance(proven, str):
        return replace(subject, facts={**subject.facts, "wiring": f"not found: {proven}"})
    plain = replace(subject, num_layers=0, tap_attention=partial(tap_attention, model))
    subject = with_inner_sites(with_canonical_sites(plain, proven.found), plain, proven)
    # A module's output that has a name of ours keeps its path as a second name of the same site.
    known = {
        site.tap.module
        for name, site in subject.sites.items()
        if name != site.transformers and site.transformers is not None and site.problem is None
    }
    paths = {name: site for name, site in subject.sites.items() if name not in known}
    subject = replace(subject, sites=paths)
    head = proven.found.head
    return subject if head is None else _with_head(subject, head, proven)


def _with_head(subject: Subject, form: HeadForm, proven: Proven) -> Subject:
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
    prove_head(headed, proven.tokens, lambda _: proven.output)
    return headed


def _hidden_states_of(trunk: nn.Module, tap: Tap) -> Callable[[Tensor], Tensor]:
    def forward(input_ids: Tensor) -> Tensor:
        output = trunk(input_ids=input_ids, use_cache=False)
        member = 0 if tap.member is None and isinstance(output, tuple) else tap.member
        hidden = member_of(output, member)
        assert isinstance(hidden, Tensor)
        return hidden

    return forward
