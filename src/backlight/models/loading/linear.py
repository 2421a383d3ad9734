"""The linear map of Transformers that keeps its weights the other way round."""

import sys
from typing import Literal

from torch import nn


def transposed_types(model: nn.Module) -> dict[type[nn.Module], Literal["in_out"]]:
    """Find ``Conv1D`` (GPT-2), whose weights are ``[inputs, outputs]``, if a model has any.

    Args:
        model: Any module; a model without modules of Transformers does not load that library.

    Returns:
        The type, with the name of its layout; empty if the model has none.
    """
    library = sys.modules.get("transformers.pytorch_utils")
    if library is None or not any(type(part) is library.Conv1D for part in model.modules()):
        return {}
    return {library.Conv1D: "in_out"}
