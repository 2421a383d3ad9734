"""Putting other tensors in the place of what passes at some sites."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager

from jaxtyping import Float
from torch import Tensor

from backlight.errors import UnsupportedSiteError
from backlight.models.sites import Site, kind_of
from backlight.models.subject import Subject
from backlight.models.taps import tapping

_ATTENTION = ("query", "key", "value")


@contextmanager
def splicing(
    subject: Subject, replacements: Mapping[str, Float[Tensor, "batch positions _"]]
) -> Generator[None, None, None]:
    """Replace the tensors of some sites while the context lasts.

    Whatever is recorded inside the context sees the replacements.

    Args:
        subject: The model.
        replacements: What to put there, by the sites' names, for the batch that will be run.

    Yields:
        Nothing; the hooks are removed at the end, also if the body fails.

    Raises:
        UnsupportedSiteError: If a site is one of attention's q, k and v, or was used before it
            could be seen.
    """
    sites = [subject.sites[name] for name in replacements]
    for site in sites:
        if site.tap.side in _ATTENTION or site.tap.inside:
            raise UnsupportedSiteError(
                f"{site.name} cannot be replaced, only looked at; use --splice error."
            )

    def visit(site: Site, tensor: Tensor) -> Tensor:
        replacement = replacements[site.name] / site.tap.multiplier
        replacement = _as_in_model(site, replacement.to(tensor.dtype), tensor)
        # The stream in the middle of a block is read twice, by the branch that is tapped and around
        # it; only writing into the tensor itself reaches both.
        is_read_twice = kind_of(site.name) == "resid.mid" and site.tap.side == "input"
        return tensor.copy_(replacement) if is_read_twice else replacement

    with tapping(subject, sites, visit):
        yield


def _as_in_model(site: Site, values: Tensor, tensor: Tensor) -> Tensor:
    """Lay one row of numbers per token out as the model has them: ``per_token`` backwards."""
    if site.tap.axes == (0, 1):
        return values.reshape(tensor.shape)
    in_front = tensor.movedim(site.tap.axes, (0, 1))
    return values.reshape(in_front.shape).movedim((0, 1), site.tap.axes)
