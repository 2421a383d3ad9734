"""Whether an ablation that changes nothing changes nothing: a tensor in its own place."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from backlight.capture.checking.check import EXACT, Check, judged, not_made
from backlight.capture.checking.difference import Difference, relative, relative_to_largest
from backlight.capture.checking.measured import Measured
from backlight.capture.checking.sample import Sample
from backlight.capture.checking.states import only_seen
from backlight.capture.record import record_activations
from backlight.capture.splice import splicing
from backlight.models.lending import borrowed
from backlight.models.sites import Site, kind_of
from backlight.models.taps import tapping

_FROM_WITHIN = "a change, run from its layer on"
_FROM_WITHIN_REMEDY = (
    "A pass that begins at the changed layer is not the whole pass, so true effects measured in "
    "this way are wrong. Please report it."
)
_WHAT = "replaced by itself"
_AGAINST = "as it passed"
_REMEDY = (
    "What is put into this site's place does not arrive as it passed, so ablations and "
    "reconstructions there are wrong. Use another site, and please report it."
)


def replacing(sample: Sample, reference: Measured) -> Iterator[Check]:
    """Replace the tensors of each kind of site by themselves, and compare output and loss."""
    del reference
    exact = [site for site in sample.replaceable if site.tap.multiplier == 1.0]
    scaled = [site for site in sample.replaceable if site.tap.multiplier != 1.0]
    if not sample.replaceable:
        yield not_made(_WHAT, _AGAINST, "no site of this model can be replaced")
    if exact:
        yield judged(_WHAT, _AGAINST, _changes(sample, exact), EXACT, remedy=_REMEDY)
    if scaled:  # is divided by the multiplier on its way back, which rounds
        difference = _changes(sample, scaled)
        yield sample.judged(f"{_WHAT} (scaled)", _AGAINST, difference, remedy=_REMEDY)


@torch.no_grad()
def _changes(sample: Sample, sites: Sequence[Site]) -> Difference:
    """Find the largest change of the output or of a passage's loss that any kind of site makes."""
    subject, batch = sample.subject, sample.short_batch
    # All are looked at all the time, since hooks switch fast ways through some modules off.
    with borrowed(subject.model), tapping(subject, sites, only_seen):
        kept = record_activations(subject, batch, sites).activations
        plain = _outcome(sample, {})
        shares = {
            members[0].name: _apart(
                _outcome(sample, {site.name: kept[site.name] for site in members}), plain
            )
            for members in _by_kind(sites).values()
        }
    worst = max(shares, key=shares.__getitem__)
    return Difference(num_sites=len(sites), site=worst if shares[worst] else "", loss=shares[worst])


def _by_kind(sites: Sequence[Site]) -> Mapping[str, list[Site]]:
    kinds: dict[str, list[Site]] = {}
    for site in sites:
        kinds.setdefault(kind_of(site.name), []).append(site)
    return kinds


def _outcome(sample: Sample, replacements: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    subject, batch = sample.subject, sample.short_batch
    with splicing(subject, replacements):
        output = subject.forward(batch.input_ids)
    return output[batch.valid].clone(), sample.objective(output, batch, subject.head).value


def _apart(found: tuple[Tensor, Tensor], plain: tuple[Tensor, Tensor]) -> float:
    values = zip(found[1].tolist(), plain[1].tolist(), strict=True)
    return max(relative_to_largest(found[0], plain[0]), *(relative(*pair) for pair in values))
