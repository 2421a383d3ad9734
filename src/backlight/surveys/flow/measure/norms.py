"""What each norm does to the gradient, summed over a corpus."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import final

import torch
from torch import Tensor

from backlight.capture.tape import Tape
from backlight.decompose.norm import NormEnergies, norm_energies
from backlight.decompose.norm_sums import NormSums, sum_norm_energies
from backlight.decompose.surrogates import SURROGATES
from backlight.errors import FamilyProofError
from backlight.models.norms import NormPlace, norm_places
from backlight.models.subject import AttentionCall, Subject
from backlight.stats.groups import RatioGroups
from backlight.stats.ratio import NamedRatios
from backlight.surveys.flow.measure.view import View

_NAMES = (
    *("r_mean", "r_radial", "token_r_mean", "token_r_radial"),
    *("sigma", "sigma_square", "input_square"),
    *(f"{name}_cosine" for name in SURROGATES),
    *(f"{name}_square" for name in SURROGATES),
)
_GROUPED = [name for name in _NAMES if name != "sigma_square"]


@final
class NormView(View):
    """The parts of the gradient at every norm of some layers, and at the final norm.

    What the table of families says of the norms is proven on the first batch, which needs their
    outputs as well as their inputs.

    Attributes:
        places: The norms.
        ratios: What was measured of each, head by head where heads are normalised apart.
        passage_groups: The same over groups of passages, but for the squares of sigma.
    """

    def __init__(self, subject: Subject, layers: Sequence[int]) -> None:
        """Find the norms.

        Args:
            subject: The model.
            layers: Its layers to look at.

        Raises:
            UnsupportedSiteError: If the norms are not known, or one cannot be read.
        """
        self.places = norm_places(subject, layers)
        num_rows = sum(place.num_heads or 1 for place in self.places)
        self.ratios = NamedRatios(_NAMES, num_rows)
        self.passage_groups = RatioGroups(_GROUPED, num_rows, shared=("sigma", "input_square"))
        super().__init__(parts={"ratios": self.ratios, "passage_groups": self.passage_groups})
        self._subject_name, self._is_proven = subject.name, False
        self.sites = [site for place in self.places for site in (place.entry, place.out)]
        self.kept = {site.name for site in self.sites}

    def update(self, tape: Tape, calls: Mapping[int, AttentionCall]) -> None:
        """Take in a batch.

        Args:
            tape: With gradients at the sites, and activations at those that are kept.
            calls: Not looked at.

        Raises:
            FamilyProofError: If a norm is not what the table of families says.
        """
        del calls
        if not self._is_proven:
            self._prove(tape)
        energies = [
            _energies(place, tape.activations[place.entry.name], tape.gradients[place.out.name])
            for place in self.places
        ]
        fractions = _fractions(sum_norm_energies(_side_by_side(energies), tape.batch.valid))
        self.ratios.update(fractions)
        self.passage_groups.update(fractions, tape.batch.passages)

    def _prove(self, tape: Tape) -> None:
        for place in self.places:
            found = tape.activations[place.out.name]
            expected = place.apply(tape.activations[place.entry.name])
            largest = expected.abs().max()
            tolerance = max(4 * torch.finfo(found.dtype).eps, 1e-4)
            if (found - expected).abs().max() > tolerance * largest:
                raise FamilyProofError(
                    f"The table of architectures does not hold for {self._subject_name}: the "
                    f"output of the norm at {place.out.name} does not follow from its input as a "
                    f"{'layer' if place.is_centred else 'RMS'} norm. Please report it with the "
                    "model's name."
                )
        self._is_proven, self.kept = True, {place.entry.name for place in self.places}


def _energies(place: NormPlace, x: Tensor, grad: Tensor) -> NormEnergies:
    """Measure what a norm takes out of the gradient at its output, token by token."""
    return norm_energies(
        place.split(x), place.split(grad), place.gain, eps=place.eps, is_centred=place.is_centred
    )


def _side_by_side(energies: Sequence[NormEnergies]) -> NormEnergies:
    """Put norms on the axis of heads."""

    def rows(name: str) -> Tensor:
        numbers: list[Tensor] = [getattr(part, name) for part in energies]
        return torch.cat([each.view(*each.shape[:2], -1) for each in numbers], dim=-1)

    return NormEnergies(**{field.name: rows(field.name) for field in fields(NormEnergies)})


def _fractions(sums: NormSums) -> dict[str, tuple[Tensor, Tensor]]:
    """Return what is divided by what."""
    cosines = zip(SURROGATES, sums.cosine.unbind(dim=-1), strict=True)
    squares = zip(SURROGATES, sums.square.unbind(dim=-1), strict=True)
    return {
        "r_mean": (sums.mean, sums.whole),
        "r_radial": (sums.radial, sums.whole),
        "token_r_mean": (sums.token_r_mean, sums.num_live),
        "token_r_radial": (sums.token_r_radial, sums.num_live),
        "sigma": (sums.sigma, sums.num_tokens),
        "sigma_square": (sums.sigma_square, sums.num_tokens),
        "input_square": (sums.true_square, sums.num_tokens),
        **{f"{name}_cosine": (cosine, sums.num_live) for name, cosine in cosines},
        **{f"{name}_square": (square, sums.true_square) for name, square in squares},
    }
