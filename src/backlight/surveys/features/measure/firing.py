"""Which tokens count when it is recorded how often features fire."""

import torch

from backlight.stats.activity import Firing
from backlight.surveys.features.measure.feature_pass import Observation
from backlight.surveys.features.measure.plan import FeaturePlan


def firing(seen: Observation, plan: FeaturePlan) -> Firing:
    """Tell what fires at the tokens of a batch that are looked at.

    Args:
        seen: The batch, encoded.
        plan: What is measured; it names the tokens that are no text.

    Returns:
        The entries, and which tokens are not the first of a passage, and which are text.
    """
    codes, ids = seen.codes, seen.batch.input_ids[:, :: plan.stride]
    assert codes is not None, "the plan encodes all tokens"
    after_first = torch.arange(ids.shape[1], device=ids.device) > 0
    return Firing(
        values=codes.values,
        features=codes.features,
        tokens=codes.tokens,
        after_first=after_first.expand_as(ids)[seen.valid],
        in_text=~torch.isin(ids, torch.tensor(plan.no_text, dtype=ids.dtype, device=ids.device))[
            seen.valid
        ],
    )
