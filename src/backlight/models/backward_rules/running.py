"""A model that is run as it is, with a rule for the way back in force while it runs."""

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from backlight.models.backward_rules.functions import FixedRatio, FixedScale, HalfEach, NormForm
from backlight.models.backward_rules.places import Places
from backlight.models.backward_rules.rule import Rule
from backlight.models.subject import AttentionCall, Subject

_PRODUCTS = (torch.mul, torch.multiply, Tensor.mul, Tensor.multiply, Tensor.__mul__)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """Runs a subject forward with a rule in force.

    Whatever the rule changes is changed inside of the call only, and is as it was afterwards, also
    after an error. Taps are registered outside of it, so they see each module's input and output
    as ever, and q and k cut off from the graph.

    Attributes:
        subject: The model, without a rule.
        rule: Which rule.
        places: Where it acts.
    """

    subject: Subject
    rule: Rule
    places: Places

    def __call__(self, input_ids: Tensor) -> Tensor:
        """Run it."""
        with ExitStack() as stack:
            for norm, form in self.places.norms:
                stack.enter_context(
                    _running_by(norm, partial(_with_fixed_scale, norm=norm, form=form))
                )
            stack.enter_context(self.subject.tap_attention(_hold_pattern))
            if self.rule == "relp":
                for nonlinearity in self.places.nonlinearities:
                    stack.enter_context(_running_by(nonlinearity, _with_fixed_ratio))
                for mlp in self.places.mlps:
                    stack.enter_context(_running_by(mlp, _with_halved_products))
            return self.subject.forward(input_ids)


@contextmanager
def _running_by(
    module: nn.Module, changed: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Generator[None, None, None]:
    """Let a module run in another way while the context lasts; its hooks stay around it."""
    # An attribute of the instance hides the method of its class, and is seen by no hook.
    own = vars(module).get("forward")
    module.forward = changed(module.forward)
    try:
        yield
    finally:
        if own is None:
            del module.forward
        else:
            module.forward = own


def _with_fixed_scale(
    run: Callable[[Tensor], Tensor], *, norm: nn.Module, form: NormForm
) -> Callable[[Tensor], Tensor]:
    def forward(hidden_states: Tensor) -> Tensor:
        return FixedScale.apply(hidden_states, run, form, form.gain_of(norm))

    return forward


def _with_fixed_ratio(run: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def forward(input: Tensor) -> Tensor:
        return FixedRatio.apply(input, run)

    return forward


def _with_halved_products(run: Callable[..., Any]) -> Callable[..., Any]:
    def forward(*args: Any, **kwargs: Any) -> Any:
        with _HalvingProducts():
            return run(*args, **kwargs)

    return forward


def _hold_pattern(call: AttentionCall) -> tuple[Tensor, Tensor, Tensor]:
    return call.query.detach(), call.key.detach(), call.value


class _HalvingProducts(TorchFunctionMode):
    """Makes each product of two activations one that gives half of its gradient to each."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        del types
        if func in _PRODUCTS and not kwargs and torch.is_grad_enabled() and _are_activations(args):
            return HalfEach.apply(*args, func)
        return func(*args, **(kwargs or {}))


def _are_activations(factors: tuple[Any, ...]) -> bool:
    tensors = [each for each in factors if isinstance(each, Tensor) and each.requires_grad]
    return len(tensors) == len(factors) == 2 and tensors[0].shape == tensors[1].shape
