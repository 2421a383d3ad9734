"""Which tokens can reach an objective at all: zeros of a gradient that are there by causality."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from backlight.models.sites import Site, kind_of, layer_of
from backlight.models.subject import Subject
from backlight.models.wiring.families import Wiring

_READ_BY_OWN_ATTENTION = {
    *("resid.pre", "norm1.in", "norm1.out", "attn.in", "attn.k", "attn.k_norm", "attn.v"),
}
_KEYS = {"attn.k", "attn.k_norm"}
_QUERIES = {"attn.q", "attn.q_norm"}


def later_attentions(site: Site, num_layers: int, wiring: Wiring | None) -> int | None:
    """Count the attentions through which a token at a site can still reach later tokens.

    In the last layer's output there is none: what happens to a token there matters to the
    prediction made at that token and to no other. The same holds for queries, which read other
    tokens but are read by none.

    Args:
        site: Where the tensor passes.
        num_layers: How many layers the model has.
        wiring: How its blocks are wired; None if that is not known.

    Returns:
        How many; None if the wiring is not known.
    """
    if wiring is None:
        return None
    layer, kind = layer_of(site.name), kind_of(site.name)
    if layer is None:
        return num_layers if site.name == "embed.out" else 0
    # A post-norm block adds attention's output before norm1, so norm1 is no longer read by it.
    after_attention = wiring == "post_norm" and kind.startswith("norm1")
    own = kind in _READ_BY_OWN_ATTENTION and not after_attention
    return num_layers - layer - 1 + int(own)


def follows(
    subject: Subject, site: Site, reads: Sequence[NDArray[np.int64]], num_tokens: int
) -> NDArray[np.bool_]:
    """Find at which tokens of each prompt the order of tokens lets a site reach the objective.

    A token reaches an output that is read at its own place, and those read later if an attention
    follows. Windows of attention are not looked at: what they cut off counts as reachable.

    Args:
        subject: The model.
        site: Where the tensor passes.
        reads: For each prompt, the tokens at which the model's output enters the objective.
        num_tokens: The length of the longest prompt.

    Returns:
        ``[prompts, num_tokens]``; where it is false, the gradient is zero to the last bit.
    """
    places = np.arange(num_tokens)
    # With an attention still to come, a token reaches every later place; so what counts is only
    # whether anything is read at or behind it. Without one it reaches its own place alone.
    if later_attentions(site, subject.num_layers, subject.wiring) == 0:
        return np.stack([np.isin(places, read) for read in reads])
    return np.stack([places <= read.max() for read in reads])


def reaches(
    subject: Subject, site: Site, reads: Sequence[NDArray[np.int64]], num_tokens: int
) -> NDArray[np.bool_]:
    """Find at which tokens of each prompt the gradient at a site can differ from zero.

    Besides what ``follows`` says: a query that sees a single key (that of the first token, in a
    model without attention sinks) reaches nothing, as a softmax over one number is constant; nor
    does a key that only that query sees. Fused kernels compute these zeros only up to rounding.

    Args:
        subject: The model.
        site: Where the tensor passes.
        reads: For each prompt, the tokens at which the model's output enters the objective.
        num_tokens: The length of the longest prompt.

    Returns:
        ``[prompts, num_tokens]``; where it is false, the gradient is zero.
    """
    found = follows(subject, site, reads, num_tokens)
    if subject.wiring is None or _has_sinks(subject):
        return found
    if kind_of(site.name) in _QUERIES:
        found[:, 0] = False
    if kind_of(site.name) in _KEYS:
        found[[read.max() == 0 for read in reads]] = False
    return found


def _has_sinks(subject: Subject) -> bool:
    return any(name.endswith("sinks") for name, _ in subject.model.named_parameters())
