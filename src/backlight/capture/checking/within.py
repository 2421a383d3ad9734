"""Whether a true effect that is run from the changed layer on is that of the whole pass."""

from collections.abc import Iterator

import torch

from backlight.capture.checking.check import Check, not_made
from backlight.capture.checking.difference import Difference, relative
from backlight.capture.checking.measured import Measured
from backlight.capture.checking.sample import Sample
from backlight.capture.effects import keep_streams, value_with
from backlight.errors import UnsupportedSiteError
from backlight.models.blocks.rerun import Blocks
from backlight.models.sites import Site, layer_of

_WHAT, _AGAINST = "zeros, from their layer", "zeros, the whole pass"
_NUM_SITES = 3
_REMEDY = (
    "A pass that begins at the changed layer is not the whole pass, so true effects measured in "
    "this way are wrong. Please report it."
)


def within(sample: Sample, reference: Measured) -> Iterator[Check]:
    """Compare the loss with zeros at a few sites, run whole and run from the site's layer on."""
    del reference
    subject = sample.subject
    try:
        blocks = Blocks.of(subject)
    except UnsupportedSiteError:
        yield not_made(_WHAT, _AGAINST, "it is not known where the model's blocks begin")
        return
    later = [site for site in sample.replaceable if layer_of(site.name) and site.width]
    shares = {site.name: _apart(sample, blocks, site) for site in sample.some(later, _NUM_SITES)}
    if not shares:
        yield not_made(_WHAT, _AGAINST, "the model has one layer")
        return
    worst = max(shares, key=shares.__getitem__)
    difference = Difference(
        num_sites=len(shares), site=worst if shares[worst] else "", loss=shares[worst]
    )
    yield sample.judged(_WHAT, _AGAINST, difference, remedy=_REMEDY)


def _apart(sample: Sample, blocks: Blocks, site: Site) -> float:
    subject, batch, objective = sample.subject, sample.short_batch, sample.objective
    layer, width = layer_of(site.name), site.width
    assert layer is not None, "a site of no layer"
    assert width is not None, "a site of unknown width"
    (stream,) = keep_streams(subject, batch, [layer]).values()
    zeros = {site.name: torch.zeros(*batch.input_ids.shape, width).to(stream)}
    whole = value_with(subject, batch, objective, zeros)
    part = value_with(subject, batch, objective, zeros, blocks=blocks, layer=layer, stream=stream)
    return max(relative(*pair) for pair in zip(part.tolist(), whole.tolist(), strict=True))
