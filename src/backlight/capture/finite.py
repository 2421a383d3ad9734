"""NaN and infinity are errors wherever they appear; here they get a place and a name."""

import torch
from jaxtyping import Float
from torch import Tensor

from backlight.data.batches import Batch
from backlight.errors import NonFiniteError


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
