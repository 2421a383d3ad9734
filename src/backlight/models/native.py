"""What the library that a model is of offers besides a plain pass: its kernels, logits and loss."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Native:
    """What a model's own library computes, to hold our own way against.

    Attributes:
        kernel: The attention kernel in use.
        kernels: All attention kernels that the model can be run with, the one in use among them;
            this one alone if they cannot be changed once it is loaded.
        attending: Attends with another kernel for as long as the context lasts.
        in_format: Settles what a number format needs, for as long as the context lasts.
        logits: From token ids to the model's own logits.
        loss: From token ids, a mask of valid tokens and labels (-100 where nothing is predicted) to
            the loss that the model computes of them, a mean over predicted tokens in nats; None if
            it computes none.
    """

    kernel: str
    kernels: Sequence[str]
    attending: Callable[[str], AbstractContextManager[None]]
    in_format: Callable[[torch.dtype], AbstractContextManager[None]]
    logits: Callable[[Int[Tensor, "batch positions"]], Float[Tensor, "batch positions vocabulary"]]
    loss: Callable[[Tensor, Tensor, Tensor], Tensor | None]
