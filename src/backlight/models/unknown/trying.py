"""A few tokens run through a model that is not known, to see what each of its modules gives."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from backlight.errors import ModelError
from backlight.models.lending import device_of
from backlight.models.outputs import Member, members
from backlight.models.unknown.rows import ALONE, CHANGED_ROW, MANY, SHARED

GIVE_FORWARD = "Give forward=, a function from token ids to logits [batch, positions, vocabulary]."
_HIGHEST = 3  # of the ids that are tried
_RAISED = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    Warning,
)  # what a model may raise when it is called in a way that it is not made for


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What came out of one forward pass.

    Attributes:
        output: What the model gave.
        calls: For each module, the tensors of each of its calls.
    """

    output: object
    calls: Mapping[nn.Module, Sequence[Mapping[Member, Tensor]]]


def hookable(module: nn.Module) -> bool:
    """Whether a module can be looked at: those of TorchScript take no hooks."""
    return not isinstance(module, torch.jit.ScriptModule)


def run_trials(
    model: nn.Module, forward: Callable[[Tensor], object], tokens: Tensor, name: str
) -> tuple[Pass, Pass, Pass, Pass, Pass]:
    """Run some tokens and what is made of them.

    Args:
        model: The model.
        forward: From token ids to what it gives.
        tokens: Tokens from ``some_tokens``.
        name: What messages call the model.

    Returns:
        What came out of the tokens; of the same with other ones at the end of one sequence; of the
        beginning of the last sequence by itself; of the tokens again; and of the tokens with pads
        at the end of one sequence.

    Raises:
        ModelError: If the model cannot be run.
    """
    changed, padded = tokens.clone(), tokens.clone()
    last = changed[CHANGED_ROW, SHARED:]
    is_of_three = int(tokens.max()) == _HIGHEST
    changed[CHANGED_ROW, SHARED:] = last % _HIGHEST + 1 if is_of_three else 1 - last
    padded[CHANGED_ROW, SHARED:] = 0
    alone = tokens[-1:, : ALONE[1]]
    run = partial(_run, model, forward, name)
    return run(tokens), run(changed), run(alone), run(tokens), run(padded)


def some_tokens(model: nn.Module) -> Tensor:
    """Make some tokens, with the ids 1 to 3 (0 is often a pad) or, if there are fewer, 0 and 1."""
    generator = torch.Generator().manual_seed(5)
    # An id that is not there ends the process on a GPU, so it is not tried out.
    embeddings = (module for module in model.modules() if isinstance(module, nn.Embedding))
    first = next(embeddings, None)
    low, high = (1, 4) if first is None or first.num_embeddings > _HIGHEST else (0, 2)
    return torch.randint(low, high, MANY, generator=generator).to(device_of(model))


def complaining(forward: Callable[[Tensor], Tensor], name: str) -> Callable[[Tensor], Tensor]:
    """Turn what a model raises when it is called into our own error.

    Args:
        forward: From token ids to what the model gives.
        name: What messages call the model.

    Returns:
        The same; it raises a ModelError.
    """

    def complained(tokens: Tensor) -> Tensor:
        try:
            return forward(tokens)
        except _RAISED as error:
            raise ModelError(_complaint(tokens, name, error)) from error

    return complained


def _complaint(tokens: Tensor, name: str, error: Exception) -> str:
    told = (str(error).strip().splitlines() or [""])[0][:200]
    return (
        f"Calling {name} with token ids of shape {list(tokens.shape)} failed: "
        f"{type(error).__name__}: {told}."
    )


def _run(model: nn.Module, forward: Callable[[Tensor], object], name: str, tokens: Tensor) -> Pass:
    """Run some tokens, and keep a copy of what each module gives."""
    calls: defaultdict[nn.Module, list[Mapping[Member, Tensor]]] = defaultdict(list)

    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        del inputs
        # Copies, because some modules add in place into what another has given.
        calls[module].append({name: part.detach().clone() for name, part in members(output)})

    handles = [module.register_forward_hook(hook) for module in model.modules() if hookable(module)]
    try:
        with torch.no_grad():
            return Pass(output=forward(tokens), calls=calls)
    except _RAISED as error:
        raise ModelError(f"{_complaint(tokens, name, error)} {GIVE_FORWARD}") from error
    finally:
        for handle in handles:
            handle.remove()
