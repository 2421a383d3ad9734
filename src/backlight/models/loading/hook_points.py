"""Models of TransformerLens: their hook points are sites, by the names of both libraries.

A ``HookedTransformer`` (TransformerLens up to 3) is written by hand, with a module for each place
that can be hooked. A ``TransformerBridge`` (from 3 on) puts such modules into a model of
Transformers and computes attention itself, so the model inside is no longer one of its family.
Both are proven as any module is. Which module is what is then read off the names of the hooks; our
names are given to what adds up, and to nothing else.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from backlight.models.loading.hooked_layers import HookedLayer, Places, Proven, prove_layer
from backlight.models.proof import is_close, probe_tokens
from backlight.models.sites import Site, Tap, kind_of
from backlight.models.subject import Subject, Tokenizer, plain_subject
from backlight.models.taps import per_token, tapping
from backlight.models.wiring.families import Wiring

_FOLDED = (
    "TransformerLens has folded norms into the weights, so activations and gradients are those of "
    "its weights, not of the weights in the model's files; load it without processing for those"
)
_WRAPPED = "_original_component"


def subject_from_hooked(model: nn.Module, tokenizer: Tokenizer, *, name: str | None) -> Subject:
    """Put a model of TransformerLens under the light.

    Args:
        model: A ``HookedTransformer`` or a ``TransformerBridge``.
        tokenizer: Its tokenizer.
        name: What reports should call it; by default as TransformerLens does.

    Returns:
        The proven subject. Besides the paths of its modules, which are the names of its hooks, it
        has the canonical sites that could be proven; ``facts["wiring"]`` says what could not.
    """
    lens: Any = model
    config = lens.cfg
    name = str(config.model_name) if name is None else name
    subject = plain_subject(model, tokenizer, name=name, forward=partial(_logits, lens))
    places = Places(
        paths=_paths_of(model),
        hooks=dict(lens.hook_dict),
        sites=subject.sites,
        head_width=int(config.d_head),
    )
    layers = [
        HookedLayer(
            places=places,
            number=number,
            is_rotary=config.positional_embedding_type == "rotary",
        )
        for number in range(int(config.n_layers))
    ]
    subject = replace(subject, num_layers=len(layers), facts=_facts(subject, lens))
    if not hasattr(lens, "original_model"):
        # Its tables of positions, learned or of angles, end here.
        subject = replace(subject, max_positions=int(config.n_ctx))
    return _with_canonical(subject, layers, int(config.d_vocab)) if layers else subject


def _logits(lens: Any, input_ids: Tensor) -> Tensor:
    # With pads on the left, TransformerLens takes what looks like the pad for one, and masks it.
    return lens(input_ids, return_type="logits", padding_side="right")


def _facts(subject: Subject, lens: Any) -> dict[str, str]:
    facts = {**subject.facts, "library": "TransformerLens"}
    is_folded = str(lens.cfg.normalization_type).endswith("Pre")
    if is_folded or getattr(lens, "_weights_processed", False):
        facts["note"] = _FOLDED
    return facts


def _paths_of(model: nn.Module) -> dict[nn.Module, str]:
    """Choose a path of each module: a bridge reaches most both as theirs and as Transformers'."""
    chosen: dict[nn.Module, str] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        before = chosen.setdefault(module, path)
        chosen[module] = min(before, path, key=lambda each: (each.count(_WRAPPED), len(each)))
    return chosen


@torch.no_grad()
def _with_canonical(subject: Subject, layers: Sequence[HookedLayer], vocabulary: int) -> Subject:
    """Give a subject our names where they are proven.

    Args:
        subject: The model, with the paths of its modules as sites.
        layers: Its layers.
        vocabulary: How many tokens it knows.

    Returns:
        The subject with more sites and its wiring.
    """
    places = layers[0].places
    candidates = [layer.candidates() for layer in layers]
    seen = _see(subject, (*candidates, _ends(places)), vocabulary)
    proven = [prove_layer(each) for each in seen[:-1]]
    fault = _fault(proven, seen[:-1])
    if fault is not None:
        return replace(
            subject,
            sites={site.name: site for site in _others(places, ())},
            facts={**subject.facts, "wiring": f"not found: {fault}"},
        )
    found = [
        Site(name="embed.out", tap=Tap(module="blocks.0", side="input"), width=_width(layers)),
        *(site for layer, each in zip(layers, proven, strict=True) for site in layer.sites(each)),
        *_final_norm(places, seen),
    ]
    sites = {site.name: site for site in (*found, *_others(places, found))}
    return replace(subject, sites=sites, wiring=_common_wiring(proven, sites))


def _see(
    subject: Subject, groups: Sequence[Mapping[str, Site]], vocabulary: int
) -> list[dict[str, Tensor]]:
    """Look at the tensors of groups of sites in one pass, by the names they are asked for by."""
    seen: list[dict[str, Tensor]] = [{} for _ in groups]
    tokens = probe_tokens(subject, vocabulary)

    def visit(site: Site, tensor: Tensor) -> Tensor:
        group, _, name = site.name.partition(" ")
        # A copy: some blocks add in place into what a tap has shown.
        seen[int(group)][name] = per_token(site, tensor.clone(), tokens.shape)
        return tensor

    asked = [
        replace(site, name=f"{number} {name}")
        for number, sites in enumerate(groups)
        for name, site in sites.items()
    ]
    with tapping(subject, asked, visit):
        subject.forward(tokens)
    return seen


def _fault(proven: Sequence[Proven], seen: Sequence[Mapping[str, Tensor]]) -> str | None:
    """Say why the blocks are no residual stream, None if they are one."""
    for number, each in enumerate(proven):
        if not each.places:
            return f"what blocks.{number} reads and returns cannot be looked at"
        if "attn.contribution" not in each.places:
            return f"what is added to the stream in blocks.{number} does not add up"
    for number, (before, after) in enumerate(pairwise(seen)):
        if not is_close(before["post"], after["pre"]):
            return f"what blocks.{number} returns is not what blocks.{number + 1} reads"
    return None


def _width(layers: Sequence[HookedLayer]) -> int | None:
    return layers[0].candidates()["pre"].width


def _ends(places: Places) -> dict[str, Site]:
    entry = places.output("ln_final.hook_in") or places.entry("ln_final", "branch")
    found = {"final_norm.in": entry, "final_norm.out": places.output("ln_final")}
    return {name: site for name, site in found.items() if site is not None}


def _final_norm(places: Places, seen: Sequence[Mapping[str, Tensor]]) -> Iterator[Site]:
    """List the sites of the final norm, if it is what reads the stream in the end."""
    *layers, ends = seen
    if "final_norm.in" in ends and is_close(ends["final_norm.in"], layers[-1]["post"]):
        yield from (replace(site, name=name) for name, site in _ends(places).items())


def _common_wiring(proven: Sequence[Proven], sites: Mapping[str, Site]) -> Wiring | None:
    """Name the wiring, if all layers share one and nothing lies between a half and its sum."""
    wirings: set[Wiring | None] = {each.wiring if each.is_plain else None for each in proven}
    is_entered = all(
        f"layers.{number}.norm1.in" in sites or f"layers.{number}.attn.in" in sites
        for number in range(len(proven))
    )
    return wirings.pop() if len(wirings) == 1 and is_entered else None


def _others(places: Places, found: Sequence[Site]) -> Iterator[Site]:
    """List the places without a name of ours, each once, by its path and the hook's other name."""
    taken = {site.tap.module for site in found if site.tap.side == "output"}
    lens = {site.transformer_lens for site in found}
    kinds = {kind_of(site.name) for site in found}
    aliases = {places.paths[hook]: name for name, hook in places.hooks.items()}
    for path in places.paths.values():
        site = places.sites.get(path)
        # Of a bridge, mlp.out is the last linear map in the MLP: by its path it would be taken for
        # our mlp.out. Its hook, mlp.out.hook_out, is the same tensor.
        if (
            site is not None
            and path not in taken
            and path not in lens
            and _in_layer(path) not in kinds
        ):
            alias = aliases.get(path)
            is_free = alias != path and alias not in lens
            yield replace(site, transformer_lens=alias if is_free else None)


def _in_layer(path: str) -> str:
    return ".".join(path.split(".")[2:])
