"""Two optimizers for one model: Muon for the matrices inside, AdamW for all else.

Muon (Jordan 2024) replaces the momentum of a matrix by the nearest matrix with orthogonal rows or
columns (five Newton-Schulz steps, no singular value decomposition), so that the matrix changes by
about the same amount in every direction: directions that carry a small gradient are learned as fast
as those that carry a large one. For a vector, or a table of which each row is looked up alone, such
as the embedding, "directions" of the whole have no such meaning; these go to AdamW, and so does the
head, as Jordan recommends.
"""

from collections.abc import Mapping
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import Module, Parameter

_BETAS = (0.9, 0.99)


def pace(done: float, *, warm_up: float, decay: float) -> float:
    """Scale the learning rates by how much of a training is done.

    Args:
        done: The share of the steps that is done.
        warm_up: The share in which they rise from 0.
        decay: The share at the end in which they fall to 0.

    Returns:
        A factor from 0 to 1.
    """
    rising = done / warm_up if done < warm_up else 1.0
    falling = (1.0 - done) / decay if done > 1.0 - decay else 1.0
    return min(rising, falling)


@final
class Optimizers:
    """What changes a model, and what it remembers from step to step.

    Args:
        model: A causal language model of Transformers; it is changed in place.
        learning_rate: Muon's, at its highest: the largest singular value of an update of a matrix
            that is no taller than wide.
        vector_learning_rate: AdamW's, at its highest.
    """

    def __init__(self, model: Any, *, learning_rate: float, vector_learning_rate: float) -> None:
        matrices = _inner_matrices(model)
        others = [(name, p) for name, p in model.named_parameters() if name not in matrices]
        # adjust_lr_fn "original" scales the update by sqrt(max(1, height / width)): a matrix that
        # is no taller than wide changes by about the learning rate, in the spectral norm.
        muon = torch.optim.Muon(
            matrices.values(), lr=learning_rate, weight_decay=0.0, adjust_lr_fn="original"
        )
        adam = torch.optim.AdamW(
            [parameter for _, parameter in others],
            lr=vector_learning_rate,
            betas=_BETAS,
            weight_decay=0.0,
            fused=True,
        )
        self._parts: tuple[tuple[torch.optim.Optimizer, list[str], float], ...] = (
            (muon, list(matrices), learning_rate),
            (adam, [name for name, _ in others], vector_learning_rate),
        )

    def step(self, scale: float) -> None:
        """Change the model along its gradient, and forget the gradient.

        Args:
            scale: By what the learning rates are multiplied in this step.
        """
        for optimizer, _, learning_rate in self._parts:
            for group in optimizer.param_groups:
                group["lr"] = scale * learning_rate
            optimizer.step()
            optimizer.zero_grad()

    def state(self) -> dict[str, NDArray[Any]]:
        """Copy what is remembered, by parameter and quantity."""
        return {
            f"{name}:{quantity}": torch.as_tensor(value).numpy().copy()
            for optimizer, names, _ in self._parts
            for number, memory in optimizer.state_dict()["state"].items()
            for name, (quantity, value) in ((names[number], item) for item in memory.items())
        }

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore what ``state`` returned."""
        for optimizer, names, _ in self._parts:
            found: dict[int, dict[str, Tensor]] = {}
            for key, value in state.items():
                name, _, quantity = key.rpartition(":")
                if name in names:
                    memory = found.setdefault(names.index(name), {})
                    memory[quantity] = torch.from_numpy(np.array(value))
            optimizer.load_state_dict({**optimizer.state_dict(), "state": found})


def _inner_matrices(model: Any) -> dict[str, Parameter]:
    outer: list[Module] = [model.get_input_embeddings(), model.get_output_embeddings()]
    outside = {id(parameter) for module in outer for parameter in module.parameters()}
    return {
        name: parameter
        for name, parameter in model.named_parameters()
        if parameter.ndim == 2 and id(parameter) not in outside
    }
