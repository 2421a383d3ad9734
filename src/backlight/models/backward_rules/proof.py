"""Proof, on the model at hand, that a backward rule does what it says and nothing else.

A rule that is skipped somewhere gives plausible numbers without a sign of it. So when a subject is
put under a rule, a few tokens are run: the forward pass must be the model's own bit for bit; each
norm, attention and nonlinearity must go back as its formula says, computed from the values;
no other step may be left that is not linear (``graph``); and with ``relp``, gradient times
activation must add up to one number in every layer, but for what biases take (``conservation``).
"""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, Node, get_gradient_edge

from backlight.models.backward import explaining, random_start, rooted
from backlight.models.backward_rules.conservation import prove_conservation
from backlight.models.backward_rules.graph import norms_left, steps_left
from backlight.models.backward_rules.nonlinear import prove_nonlinearities
from backlight.models.backward_rules.pattern import pattern_of
from backlight.models.backward_rules.places import BEHIND_THE_PATTERN, Places
from backlight.models.backward_rules.rule import Rule, unproven
from backlight.models.lending import borrowed
from backlight.models.norms import NormPlace, norm_places
from backlight.models.proof import is_close, probe_tokens
from backlight.models.sites import Site
from backlight.models.subject import AttentionCall, Subject
from backlight.models.taps import per_token, tapping


def prove_rule(plain: Subject, subject: Subject, rule: Rule, places: Places) -> None:
    """Check on a few tokens that a subject computes as before, and goes back by a rule.

    Args:
        plain: The model without the rule.
        subject: The model under the rule.
        rule: The rule.
        places: Where it acts.

    Raises:
        UnsupportedSiteError: If anything of this is not so; the message says what.
        ModelError: If autograd fails.
    """
    tokens = probe_tokens(plain, int(plain.sites["logits"].width or 0))
    with borrowed(plain.model), explaining(subject.name):
        seen = _run(subject, tokens)
        with torch.no_grad():
            own = plain.forward(tokens)
        _prove_forward(own, seen.output, subject, rule)
        for norm in _norms(subject):
            _prove_norm(norm, seen, subject, rule)
        for layer in range(subject.num_layers):
            _prove_attention(layer, seen, subject, rule)
        _prove_nothing_left(seen, subject, rule)
        if rule == "relp":
            prove_nonlinearities(subject, places.nonlinearities, tokens)
            prove_conservation(subject, tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pass:
    """What a pass under a rule left.

    Attributes:
        output: What the model gives.
        values: A copy of what passed at each site.
        edges: Where in the graph it was.
        calls: What attended, by layer.
    """

    output: Tensor
    values: Mapping[str, Tensor]
    edges: Mapping[str, GradientEdge]
    calls: Mapping[int, AttentionCall]


def _norms(subject: Subject) -> list[NormPlace]:
    places = norm_places(subject, range(subject.num_layers))
    return [each for each in places if each.name not in BEHIND_THE_PATTERN]


def _run(subject: Subject, tokens: Tensor) -> _Pass:
    """Run a few tokens with a graph that begins at the first block."""
    values: dict[str, Tensor] = {}
    edges: dict[str, GradientEdge] = {}
    calls: dict[int, AttentionCall] = {}
    layers = range(subject.num_layers)
    kinds = ("attn.v", "attn.z", "mlp.in", "mlp.out")
    names = [
        "layers.0.resid.pre",
        *(f"layers.{layer}.{kind}" for layer in layers for kind in kinds),
    ]
    sites = [subject.sites[name] for name in names]
    sites += [site for norm in _norms(subject) for site in (norm.entry, norm.out)]
    attention = {
        subject.model.get_submodule(subject.sites[f"layers.{layer}.attn.v"].tap.module): layer
        for layer in layers
    }

    def visit(site: Site, tensor: Tensor) -> Tensor:
        tensor = rooted(tensor)
        values[site.name] = tensor.detach().clone()  # some blocks write into what passed
        edges[site.name] = get_gradient_edge(tensor)
        return tensor

    def keep(call: AttentionCall) -> tuple[Tensor, Tensor, Tensor]:
        calls[attention[call.module]] = call
        return call.query, call.key, call.value

    with ExitStack() as stack:
        stack.enter_context(tapping(subject, sites, visit))
        stack.enter_context(subject.tap_attention(keep))
        stack.enter_context(torch.enable_grad())
        output = subject.forward(tokens)
    return _Pass(output=output, values=values, edges=edges, calls=calls)


def _prove_forward(own: Tensor, output: Tensor, subject: Subject, rule: Rule) -> None:
    if not bool(((own == output) | (own.isnan() & output.isnan())).all()):
        raise unproven(subject.name, rule, "the forward pass under it is not the model's own")


def _back(seen: _Pass, end: str, start: str, gradient: Tensor) -> Tensor | None:
    """Take a gradient at one site back to another, and no further."""
    ends, starts = [seen.edges[end]], [seen.edges[start]]
    (found,) = torch.autograd.grad(ends, starts, [gradient], retain_graph=True, allow_unused=True)
    return found


def _rows(site: Site, tensor: Tensor, seen: _Pass) -> Tensor:
    """Lay a site's tensor out as one row for each token."""
    return per_token(site, tensor, seen.output.shape[:2])


def _prove_norm(norm: NormPlace, seen: _Pass, subject: Subject, rule: Rule) -> None:
    """Hold a norm against its formula, and its way back against the formula with a fixed scale."""
    x, out = (_rows(site, seen.values[site.name], seen) for site in (norm.entry, norm.out))
    if not is_close(norm.apply(x).to(out.dtype), out):
        what = f"{norm.out.name} is not what the norm's formula gives"
        raise unproven(subject.name, rule, what)
    gradient = random_start(seen.values[norm.out.name])
    expected = _through_fixed_scale(norm, x, _rows(norm.out, gradient, seen)).to(x.dtype)
    found = _back(seen, norm.out.name, norm.entry.name, gradient)
    if found is None or not is_close(_rows(norm.entry, found, seen), expected):
        what = f"the gradient at {norm.entry.name} is not that of the norm with a fixed scale"
        raise unproven(subject.name, rule, what)


def _through_fixed_scale(norm: NormPlace, x: Tensor, gradient: Tensor) -> Tensor:
    """Differentiate a norm's formula in which the root is a constant."""
    with torch.enable_grad():
        leaf = x.cpu().double().requires_grad_()
        split = norm.split(leaf)
        centred = split - split.mean(dim=-1, keepdim=True) if norm.is_centred else split
        root = (centred.square().mean(dim=-1, keepdim=True) + norm.eps).sqrt()
        z = centred / root.detach()
        z = z if norm.gain is None else z * norm.gain.cpu().double()
        (found,) = torch.autograd.grad(z.reshape(x.shape), leaf, gradient.cpu().double())
    return found.to(x.device)


def _prove_attention(layer: int, seen: _Pass, subject: Subject, rule: Rule) -> None:
    """Hold what attends against its pattern: forward to z, and back from z to v."""
    value, out = (subject.sites[f"layers.{layer}.attn.{part}"] for part in ("v", "z"))
    if layer not in seen.calls:
        raise unproven(subject.name, rule, f"attention in layer {layer} passes by the interface")
    call = seen.calls[layer]
    if call.query.requires_grad or call.key.requires_grad:
        raise unproven(subject.name, rule, f"the pattern in layer {layer} is not held fixed")
    pattern, gradient = pattern_of(call), random_start(seen.values[out.name])
    groups = call.query.shape[1] // call.value.shape[1]
    v = call.value.detach().cpu().double().repeat_interleave(groups, dim=1)
    z = (pattern @ v).transpose(1, 2).flatten(2)
    if not is_close(z.to(gradient), _rows(out, seen.values[out.name], seen)):
        raise unproven(
            subject.name, rule, f"{out.name} is not the pattern's mixture of {value.name}"
        )
    rows = _rows(out, gradient, seen).cpu().double()
    heads = rows.unflatten(2, (pattern.shape[1], -1)).transpose(1, 2)
    expected = (pattern.mT @ heads).unflatten(1, (-1, groups)).sum(dim=2)
    found = _back(seen, out.name, value.name, gradient)
    if found is None or not is_close(found, expected.to(found)):
        what = f"the gradient at {value.name} is not that through a fixed pattern"
        raise unproven(subject.name, rule, what)


def _prove_nothing_left(seen: _Pass, subject: Subject, rule: Rule) -> None:
    """Check that all other steps are linear; with ``frozen`` those inside the MLPs are let be."""
    leaps: dict[Node, GradientEdge] = {}
    if rule == "frozen":
        leaps = {
            seen.edges[f"layers.{layer}.mlp.out"].node: seen.edges[f"layers.{layer}.mlp.in"]
            for layer in range(subject.num_layers)
        }
    start = get_gradient_edge(seen.output).node
    left = steps_left(start, leaps) or norms_left(start)
    if left:
        what = (
            f"{', '.join(left)} stands in the way back, which is neither linear nor a step that "
            "the rule knows"
        )
        raise unproven(subject.name, rule, what)
