"""The loss of a batch of rows: the cross-entropy of answers, not of questions."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy

from backlight.world.learning.encoding import EncodedRows
from backlight.world.learning.prefixes import share_prefixes


def answer_loss(model: Any, rows: EncodedRows) -> Float[Tensor, ""]:
    """Compute the mean cross-entropy over the tokens of the answers, ``<eos>`` included.

    Args:
        model: A causal language model of Transformers whose cache can be differentiated.
        rows: What should be known; its beginnings are computed once for all rows.

    Returns:
        The loss in nats per token, with its graph.
    """
    inputs = rows.tokens[:, :-1]
    question = rows.shortest_question
    shared = share_prefixes(inputs, question - 1)
    cache = model.model(input_ids=shared.prefixes, use_cache=True).past_key_values
    cache.batch_select_indices(shared.which)
    first = question - 1  # the "=" of the shortest question predicts the first token of an answer
    logits: Tensor = model(
        input_ids=shared.rest,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=inputs.shape[1] - first,
    ).logits
    predicts = rows.is_answer[:, question:]
    targets: Tensor = rows.tokens[:, question:][predicts]
    return cross_entropy(torch.as_tensor(logits)[predicts], targets)
