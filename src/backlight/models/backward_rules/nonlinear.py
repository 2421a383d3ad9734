"""Proof that the nonlinearities of a model pass the share of their output, and are of a kind to."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from backlight.models.backward_rules.rule import unproven
from backlight.models.proof import is_close
from backlight.models.sites import Site
from backlight.models.subject import Subject
from backlight.models.taps import tapping


@dataclass(frozen=True, slots=True)
class _Call:
    """One use of a nonlinearity: what entered and came out, and where in the graph that is."""

    x: Tensor
    y: Tensor
    entry: GradientEdge
    out: GradientEdge


def prove_nonlinearities(
    subject: Subject, nonlinearities: Sequence[nn.Module], tokens: Tensor
) -> None:
    """Check each nonlinearity of a subject under the rule ``relp`` against ``g * act(x) / x``.

    Args:
        subject: The model under the rule.
        nonlinearities: The modules that the rule takes for functions of single numbers.
        tokens: Some sequences.

    Raises:
        UnsupportedSiteError: If one is no function of single numbers, is not 0 at 0, or goes back
            in another way; if one never runs.
    """
    for module in nonlinearities:
        if not _is_of_single_numbers(module, subject):
            what = f"{type(module).__name__} is not 0 at 0, number by number"
            raise unproven(subject.name, "relp", what)
    calls: dict[nn.Module, list[_Call]] = {module: [] for module in nonlinearities}
    with ExitStack() as stack:
        stack.enter_context(tapping(subject, [subject.sites["layers.0.resid.pre"]], _as_leaf))
        for module, noted in calls.items():
            stack.callback(module.register_forward_hook(_noting(noted)).remove)
        stack.enter_context(torch.enable_grad())
        output = subject.forward(tokens)
    for module, noted in calls.items():
        if not noted:
            raise unproven(subject.name, "relp", f"a {type(module).__name__} in it never runs")
    for call in (each for noted in calls.values() for each in noted):
        gradient = torch.ones_like(call.y)
        (found,) = torch.autograd.grad([call.out], [call.entry], [gradient], retain_graph=True)
        if not is_close(found * call.x, call.y):
            what = "a nonlinearity does not go back as its output's share of its input"
            raise unproven(subject.name, "relp", what)
    del output  # holds the graph


def _is_of_single_numbers(module: nn.Module, subject: Subject) -> bool:
    dtype = next((each.dtype for each in subject.model.parameters()), torch.float32)
    x = torch.linspace(-3, 3, 7, device=subject.device).to(dtype)  # 0 in the middle
    with torch.no_grad():
        y = module(x)
        alone = [module(x[place : place + 1]) for place in range(len(x))]
    return y.shape == x.shape and bool(y[3] == 0) and is_close(torch.cat(alone), y)


def _as_leaf(site: Site, tensor: Tensor) -> Tensor:
    del site
    return tensor.detach().requires_grad_().clone()


def _noting(noted: list[_Call]) -> Any:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        del module
        x, y = inputs[0], output
        entry, out = get_gradient_edge(x), get_gradient_edge(y)
        noted.append(_Call(x.detach().clone(), y.detach().clone(), entry, out))

    return hook
