"""Turn the linear maps of any module into maps that send the error back by a rule.

Attention, softmax, norms and activations stay exact: weight transport concerns weights only.
"""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import accumulate
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from backlight.errors import ConfigError, quoted
from backlight.learning_rules.direct import (
    DIRECT_SCALES,
    DirectFeedback,
    DirectScale,
    direct_feedback_changes,
)
from backlight.learning_rules.feedback import SCALES, Scale, draw_feedback, spread
from backlight.learning_rules.linear import (
    FixedFeedback,
    LinearFeedback,
    SignFeedback,
    WeightLayout,
)
from backlight.learning_rules.swapping import Applied, Change, apply_changes, check_choice

Rule = Literal["bp", "fa", "dfa", "sign_uniform", "sign_random"]
"""Backpropagation, feedback alignment, direct feedback alignment, sign-symmetric feedback."""
RULES: tuple[Rule, ...] = get_args(Rule)

_NO_POINTS = DirectFeedback()
_PROOF_TOLERANCE = 0.03  # for number formats of few digits


def apply_rule(
    model: nn.Module,
    rule: Rule | str,
    *,
    scale: Scale | DirectScale | str | None = None,
    linear_types: Mapping[type[nn.Module], WeightLayout] | None = None,
    leave: Sequence[str] = (),
    direct: DirectFeedback = _NO_POINTS,
    generator: torch.Generator | None = None,
) -> Applied:
    """Make a model send its error back by a rule. What it computes forward stays as it is.

    Matrices of the way back are buffers (``feedback`` on each linear map, ``direct_feedback`` on
    the head): saved, loaded and moved with the model. Works under autocast, gradient checkpointing
    and ``torch.compile`` (with graph breaks for ``dfa``).

    Args:
        model: Any module. It is changed at once, until ``restore`` or the end of a ``with`` block.
        rule: ``bp``: backpropagation, nothing changes. ``fa``: a fixed random matrix at each linear
            map. ``sign_uniform``: the signs of the weights times one number. ``sign_random``: the
            signs of the weights times fixed random magnitudes. ``dfa``: the output's error at each
            feedback point, backpropagation in between.
        scale: How large the matrices are: ``forward`` (default; the standard deviation of the
            weights as they are now), ``xavier`` or ``kaiming``; for ``dfa`` ``width`` (default),
            ``xavier`` or ``kaiming``.
        linear_types: Types of linear maps beside ``nn.Linear``, exactly, and how they keep their
            weights: GPT-2's ``Conv1D`` is ``"in_out"``.
        leave: Patterns of paths of modules that backpropagate, with all that is in them. Not for
            ``dfa``.
        direct: For ``dfa``, where the error is taken and where it arrives.
        generator: Where randomness comes from; None for PyTorch's own.

    Returns:
        What undoes it.

    Raises:
        ConfigError: If a name is unknown, there is no linear map, or some weights are in none.
    """
    chosen = check_choice("rule", rule, RULES)
    if chosen == "bp":
        return Applied([])
    if chosen == "dfa":
        size = check_choice("scale of direct feedback", scale or "width", DIRECT_SCALES)
        return apply_changes(
            direct_feedback_changes(model, direct, scale=size, generator=generator)
        )
    linear_scale = check_choice("scale of feedback", scale or "forward", SCALES)
    types: dict[type[nn.Module], WeightLayout] = {nn.Linear: "out_in", **(linear_types or {})}
    maps = _linear_maps(model, types, leave)
    for path, module in maps:
        if type(module) is not nn.Linear:
            _prove(path, module, types[type(module)])
    return apply_changes(
        [
            _change(chosen, path, module, types[type(module)], linear_scale, generator)
            for path, module in maps
        ]
    )


@torch.no_grad()
def _prove(path: str, module: nn.Module, layout: WeightLayout) -> None:
    """Check that a module of another type is the linear map that it was said to be."""
    weight = _weight(module, layout)
    x = torch.linspace(-1, 1, weight.shape[1], dtype=weight.dtype, device=weight.device)
    expected = functional.linear(x[None], weight, getattr(module, "bias", None))
    found = type(module).forward(module, x[None])
    agrees = found.shape == expected.shape and (
        (found - expected).norm() <= _PROOF_TOLERANCE * expected.norm()
    )
    if not agrees:
        raise ConfigError(
            f"{quoted(path)}, of type {type(module).__name__}, does not multiply by its weights "
            f"alone, kept {quoted(layout)}; take the type out of linear_types, or correct the "
            "layout."
        )


def _weight(module: nn.Module, layout: WeightLayout) -> Float[Tensor, "outputs inputs"]:
    stored = module.weight
    assert isinstance(stored, Tensor)
    return stored.detach() if layout == "out_in" else stored.detach().t()


def _change(
    rule: Literal["fa", "sign_uniform", "sign_random"],
    path: str,
    module: nn.Module,
    layout: WeightLayout,
    scale: Scale,
    generator: torch.Generator | None,
) -> Change:
    weight = _weight(module, layout)
    if spread(weight, scale=scale) == 0:
        raise ConfigError(
            f"The weights of {quoted(path)} are all the same, so their standard deviation gives no "
            'feedback; take scale="xavier", or leave the module.'
        )
    match rule:
        case "fa":
            role, feedback = FixedFeedback, draw_feedback(weight, scale=scale, generator=generator)
        case "sign_uniform":
            role, feedback = SignFeedback, weight.new_tensor(spread(weight, scale=scale))
        case "sign_random":
            drawn = draw_feedback(weight, scale=scale, generator=generator)
            role, feedback = SignFeedback, drawn.abs()
    return Change(
        path=path,
        module=module,
        role=role,
        settings={"weight_layout": layout},
        buffers={"feedback": feedback},
    )


def _linear_maps(
    model: nn.Module, types: Mapping[type[nn.Module], WeightLayout], leave: Sequence[str]
) -> list[tuple[str, nn.Module]]:
    paths = [path for path, _ in model.named_modules()]
    for pattern in leave:
        if not any(fnmatchcase(path, pattern) for path in paths):
            raise ConfigError(
                f"No module of this model matches {quoted(pattern)}, which is to be left."
            )
    maps: list[tuple[str, nn.Module]] = []
    unknown: list[str] = []
    for path, module in model.named_modules():
        # A pattern of a module takes with it all that is inside.
        above = list(accumulate(path.split("."), "{}.{}".format))
        if any(fnmatchcase(name, pattern) for name in above for pattern in leave):
            continue
        if isinstance(module, LinearFeedback):
            raise ConfigError(f"A rule was already applied to {quoted(path)}; restore that first.")
        if type(module) in types:
            maps.append((path, module))
        elif not isinstance(module, nn.Embedding | nn.EmbeddingBag):
            unknown += [
                f"{path}.{name} of {type(module).__name__}"
                for name, parameter in module.named_parameters(recurse=False)
                if parameter.dim() > 1
            ]
    if unknown:
        raise ConfigError(
            f"{len(unknown)} weights are in no linear map that is known ({', '.join(unknown[:3])}"
            f"{', ...' if len(unknown) > 3 else ''}): name their type in linear_types, or leave "
            "their modules."
        )
    if not maps:
        known = ", ".join(kind.__name__ for kind in types)
        raise ConfigError(f"There is no linear map in this model: no module is exactly {known}.")
    return maps
