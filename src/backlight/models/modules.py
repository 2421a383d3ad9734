"""Any module as a subject: the paths of its modules, and the canonical sites that it has."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from backlight.errors import ModelError
from backlight.models.discovery.canonical import with_canonical_sites
from backlight.models.discovery.finding import discover
from backlight.models.discovery.reads import with_whole_entries
from backlight.models.reading import reach_of
from backlight.models.subject import Subject, Tokenizer, plain_subject
from backlight.models.unknown.trying import complaining


def subject_from_module(
    model: nn.Module,
    tokenizer: Tokenizer,
    *,
    name: str = "model",
    forward: Callable[[Tensor], Any] | None = None,
) -> Subject:
    """Put any causal language model under the light; its sites are its modules' outputs, and more.

    The model is tried with a few tokens: where its logits are and where each module's output has
    a row of numbers for each token is found and proven, whatever the order of the axes. If it has a
    list of blocks that add to a residual stream, it gets the canonical sites of these
    (``layers.0.mlp.out``), each proven, too. It is left as it was; it is frozen and in evaluation
    mode only while something is measured.

    Args:
        model: A module that maps token ids ``[batch, positions]`` to logits, or to something that
            holds them and no other tensor like them, or has them as ``logits``.
        tokenizer: What turns text into tokens and back.
        name: What reports should call it.
        forward: How to get logits from token ids, if not by calling the model with them.

    Returns:
        A subject whose sites are called by the paths of its modules and, where its wiring was
        found, by canonical names; ``facts`` say why if it was not. A site whose module gives no
        row for each token, or is used several times in a pass, says so when it is asked for.

    Raises:
        ModelError: If the model cannot be run, gives no logits for each token, is not causal, or
            gives other logits in other company or the next time; if what is given is no module, or
            no tokenizer.

    Example:
        >>> import backlight
        >>> from torch import nn
        >>> class Letters:
        ...     def __call__(self, text, *, truncation, max_length):
        ...         return {"input_ids": [ord(letter) - 97 for letter in text[:max_length]]}
        ...
        ...     def decode(self, token_ids):
        ...         return "".join(chr(token + 97) for token in token_ids)
        >>> model = nn.Sequential(nn.Embedding(26, 8), nn.Linear(8, 8), nn.Linear(8, 26))
        >>> subject = backlight.subject_from_module(model, Letters())
        >>> subject.sites["1"].width
        8
        >>> subject.facts["wiring"]
        'not found: none of its lists of modules gives rows of one width for each token'
    """
    plain = plain_subject(model, tokenizer, name=name, forward=forward)
    found = _wired(plain)
    if isinstance(found, str):
        return replace(plain, facts={**plain.facts, "wiring": f"not found: {found}"})
    return found


def _wired(plain: Subject) -> Subject | str:
    """Find the canonical sites of a model that nobody knows, or say why it has none."""
    trying = replace(plain, forward=complaining(plain.forward, plain.name))
    try:
        reach = reach_of(trying)
        assert reach.vocabulary is not None
        proven = discover(trying, reach.vocabulary, most=reach.positions)
    except ModelError as error:  # it was made for other tokens, or for fewer
        return str(error)
    if isinstance(proven, str):
        return proven
    layers = proven.found.layers
    reasons = [layer for layer in layers if isinstance(layer, str)]
    if len(reasons) == len(layers):  # modules in a row that are no blocks
        return reasons[0]
    wired = with_canonical_sites(plain, proven.found)
    wired = with_whole_entries(wired, trying, proven.found, proven.tokens)
    # Its modules are not those of Transformers: the path of each is a site of its own.
    sites = {
        name: site if site is plain.sites.get(name) else replace(site, transformers=None)
        for name, site in wired.sites.items()
    }
    return replace(wired, sites=sites)
