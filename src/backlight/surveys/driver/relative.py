"""Sites whose changes are followed to the residual stream, for the warning index of their units."""

from collections.abc import Iterable, Mapping, Sequence

from jaxtyping import Float
from torch import Tensor

from backlight.capture.tape import Tape
from backlight.decompose.relative import token_weights
from backlight.models.backward_rules.subjects import rule_of
from backlight.models.sites import Site
from backlight.models.streams import Way, stream_of
from backlight.models.subject import Subject


def ways_of(subject: Subject, sites: Sequence[Site]) -> tuple[dict[str, Way], str]:
    """Find the residual streams that some sites are added to.

    Args:
        subject: The model.
        sites: Its sites.

    Returns:
        The way of each site of which it is known, by the site's name; and why it is not known of
        the first other one, empty if there is none.
    """
    found = {site.name: stream_of(subject, site) for site in sites}
    reasons = [way for way in found.values() if isinstance(way, str)]
    known = {name: way for name, way in found.items() if isinstance(way, Way)}
    return known, next(iter(reasons), "")


def warned_ways(
    subject: Subject, sites: Sequence[Site], *, shown: str
) -> tuple[dict[str, Way], str]:
    """Find the ways as ``ways_of``; none where gradients are not those of the model as it is.

    Args:
        subject: The model.
        sites: Its sites.
        shown: What takes the place of plain gradients; empty if nothing does.

    Returns:
        As ``ways_of``.
    """
    rule = rule_of(subject)
    if rule != "true":
        shown = f"gradients go back by the rule {rule}"
    return ({}, shown) if shown else ways_of(subject, sites)


def needed_norms(ways: Iterable[Way]) -> list[Site]:
    """List the sites of which a tape must have the tokens' norms, each once."""
    return list({site.name: site for way in ways for site in way.needed}.values())


def weights_on(tape: Tape, way: Way, *, stride: int = 1) -> Float[Tensor, "batch positions"]:
    """Compute what lengths of changes are multiplied by to become relative sizes; 0 at pads.

    Args:
        tape: With the tokens' norms at the sites that the way needs.
        way: From a site to its stream.
        stride: Every so many positions of the batch are on the tape.

    Returns:
        One number for each token that is on the tape.
    """
    scale = None if way.norm is None else way.scale(tape.norms[way.norm.entry.name])
    return token_weights(tape.norms[way.stream.name], tape.batch.valid[:, ::stride], scale)


def reason_note(reason: str) -> Mapping[str, str]:
    """Say in a run's metadata why there is no warning index; nothing if there is one."""
    return {"no_warning_index": reason} if reason else {}
