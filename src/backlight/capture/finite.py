"""NaN and infinity are errors wherever they appear; here they get a place and a name."""

import torch
from jaxtyping import Float
from torch import Tensor

from backlight.data.batches import Batch
from backlight.errors import NonFiniteError
from backlight.models.sites import Site
from backlight.models.subject import Subject
from backlight.models.taps import per_token, tapping
from backlight.objectives.objective import LossGradient

_WATCHED = ("input", "output", "branch")


def check_finite(
    values: Float[Tensor, "batch positions width"], site: str, batch: Batch, what: str
) -> None:
    """Make sure that the numbers of a batch are numbers.

    Args:
        values: Some numbers for each token.
        site: Where they were seen.
        batch: The tokens.
        what: What they are, in the plural.

    Raises:
        NonFiniteError: If one is NaN or infinite; it says at which token.
    """
    # One sum sees any NaN or infinity (it cannot overflow in float64).
    if torch.isfinite(values.sum(dtype=torch.float64 if values.device.type != "mps" else None)):
        return
    bad = ~values.isfinite().all(dim=-1) & batch.valid
    if not bad.any():
        return
    row, position = (int(index) for index in bad.nonzero()[0])
    raise NonFiniteError(
        f"At {site}, {what} of passage {batch.passages[row]} are not finite at token "
        f"{position}, although the loss is. Try --dtype float32 (now {values.dtype})."
    )


def is_finite(loss: LossGradient) -> bool:
    """Whether the loss of every sequence is a number."""
    return bool((loss.nats.isfinite() & loss.value.isfinite()).all())


def not_finite(subject: Subject, batch: Batch, loss: LossGradient) -> NonFiniteError:
    """Name the first passage whose loss is not finite, and the first layer where it went wrong.

    Args:
        subject: The model; the batch is run once more, with whatever stands in it now.
        batch: Some passages.
        loss: Their losses, of which at least one is not finite.

    Returns:
        The error.
    """
    row = int((~(loss.nats.isfinite() & loss.value.isfinite())).nonzero()[0, 0])
    return NonFiniteError(
        f"The loss of passage {batch.passages[row]} is {loss.nats[row].item()}: "
        f"{_first_non_finite(subject, batch, row)}. Try --dtype float32 (now "
        f"{loss.gradient.dtype}), or look for NaN in the weights."
    )


@torch.no_grad()
def _first_non_finite(subject: Subject, batch: Batch, row: int) -> str:
    """Find the site of the forward pass at which a passage's first NaN or infinity is seen."""
    first: list[str] = []
    length = int(batch.lengths[row])

    def visit(site: Site, tensor: Tensor) -> Tensor:
        # Not the passage by itself: what is spliced in is for the whole batch.
        if not first:
            own = per_token(site, tensor, batch.input_ids.shape)[row, :length]
            if not own.isfinite().all():
                first.append(site.name)
        return tensor

    watched = [
        site
        for site in subject.sites.values()
        if site.tap.side in _WATCHED and site.problem is None
    ]
    with tapping(subject, watched, visit):
        subject.forward(batch.input_ids)
    return f"the first site that is not finite is {first[0]}" if first else "all sites are finite"
