"""Norms whose backward is replaced by a simpler one.

With ``g`` the gradient at the norm's output, ``u = gain * g``, ``z`` the normalised input and
``sigma`` what it was divided by (``eps`` inside the root), the gradient that goes on is

- ``true``: ``(u - mean u - z mean(u z)) / sigma``: the norm's own;
- ``center_scale``: ``(u - mean u) / sigma``;
- ``scale`` (statistics detached): ``u / sigma``;
- ``projected``: ``u - mean u - z mean(u z)``;
- ``identity`` (straight-through): ``u``;
- ``radial_only``: ``(u - z mean(u z)) / sigma``.

For an RMS norm ``mean u`` counts as 0. What the gain and the bias learn stays exact.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, final, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from backlight.errors import ConfigError, quoted
from backlight.learning_rules.swapping import (
    Applied,
    Change,
    apply_changes,
    check_choice,
    find_module,
)

NormBackward = Literal["true", "center_scale", "scale", "projected", "identity", "radial_only"]
NORM_BACKWARDS: tuple[NormBackward, ...] = get_args(NormBackward)

Gain = Literal["weight", "one_plus_weight"]
"""What a norm multiplies by last: its weight, or (Gemma) 1 + its weight."""
GAINS: tuple[Gain | None, ...] = (*get_args(Gain), None)


def surrogate_gradient(
    kind: NormBackward,
    x: Float[Tensor, "*tokens width"],
    u: Float[Tensor, "*tokens width"],
    *,
    centred: bool,
    eps: float,
) -> Float[Tensor, "*tokens width"]:
    """Send a gradient back through a norm by one of the rules.

    Args:
        kind: The rule.
        x: The norm's input.
        u: The gradient at the norm's output times the gain.
        centred: It is a layer norm; if not, an RMS norm.
        eps: What the norm adds under the root.

    Returns:
        What goes on to the norm's input.
    """
    if kind == "identity":
        return u
    x = x - x.mean(dim=-1, keepdim=True) if centred else x
    sigma = (x.square().mean(dim=-1, keepdim=True) + eps).sqrt()
    kept = u
    if centred and kind in {"true", "center_scale", "projected"}:
        kept = kept - u.mean(dim=-1, keepdim=True)
    if kind in {"true", "projected", "radial_only"}:
        z = x / sigma
        kept = kept - z * (u * z).mean(dim=-1, keepdim=True)
    return kept if kind == "projected" else kept / sigma


class _WithSurrogate(torch.autograd.Function):
    """The norm's output, computed from its input apart, is tied to the input again."""

    @staticmethod
    def forward(
        y: Tensor, x: Tensor, gain: Tensor | None, kind: NormBackward, centred: bool, eps: float
    ) -> Tensor:
        del x, gain, kind, centred, eps
        return y.clone()  # a view would not bear operations in place

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        del output
        _, x, gain, *ctx.how = inputs
        ctx.save_for_backward(x, gain)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        x, gain = ctx.saved_tensors
        kind, centred, eps = ctx.how
        dtype = torch.promote_types(torch.promote_types(x.dtype, grad.dtype), torch.float32)
        u = grad.to(dtype) if gain is None else grad.to(dtype) * gain.to(dtype)
        passed = surrogate_gradient(kind, x.to(dtype), u, centred=centred, eps=eps)
        return grad if ctx.needs_input_grad[0] else None, passed.to(x.dtype), None, None, None, None


@dataclass(frozen=True, slots=True)
class _Form:
    """What must be known of a norm."""

    centred: bool
    gain: Gain | None
    eps: float | None  # None: the number format's own (nn.RMSNorm)


@final
class SurrogateNorm(nn.Module):
    """The role of a norm whose backward is replaced."""

    weight: Tensor
    norm_form: _Form
    norm_backward: NormBackward

    def forward(self, x: Float[Tensor, "*tokens width"]) -> Float[Tensor, "*tokens width"]:
        """Do what the norm does."""
        if not x.requires_grad:
            return super().forward(x)
        form, gain = self.norm_form, None
        if form.gain is not None:
            gain = self.weight.detach() + (1 if form.gain == "one_plus_weight" else 0)
        eps = torch.finfo(x.dtype).eps if form.eps is None else form.eps
        y = super().forward(x.detach())
        return _WithSurrogate.apply(y, x, gain, self.norm_backward, form.centred, eps)


def surrogate_norm(
    model: nn.Module,
    kind: NormBackward | str,
    *,
    norms: Mapping[str, tuple[bool, Gain | str | None, float]] | None = None,
) -> Applied:
    """Replace the backward of a model's norms. What they compute forward stays as it is.

    Works under autocast, gradient checkpointing and ``torch.compile``.

    Args:
        model: Any module. It is changed at once, until ``restore`` or the end of a ``with`` block.
        kind: The backward they take; ``true`` leaves them theirs.
        norms: Which modules are norms over the last axis, and of which form: whether they centre,
            what they multiply by last (``weight``, ``one_plus_weight`` or None), and eps. None
            takes every ``nn.LayerNorm`` and ``nn.RMSNorm``.

    Returns:
        What undoes it.

    Raises:
        ConfigError: If there is no such kind, module or form, or no norm, or a norm of which the
            form is not known.
    """
    norm_backward = check_choice("backward of norms", kind, NORM_BACKWARDS)
    forms = dict(_known_norms(model) if norms is None else _named_norms(model, norms))
    if not forms:
        raise ConfigError(
            "This model has no nn.LayerNorm and no nn.RMSNorm. Name its norms: "
            "norms={path: (centred, gain, eps)}."
        )
    if norm_backward == "true":
        return Applied([])
    return apply_changes(
        [
            Change(
                path=path,
                module=find_module(model, path),
                role=SurrogateNorm,
                settings={"norm_form": form, "norm_backward": norm_backward},
            )
            for path, form in forms.items()
        ]
    )


def _known_norms(model: nn.Module) -> Iterator[tuple[str, _Form]]:
    unknown: list[str] = []
    for path, module in model.named_modules():
        if isinstance(module, nn.LayerNorm | nn.RMSNorm):
            if len(module.normalized_shape) != 1:
                raise ConfigError(
                    f"The norm {quoted(path)} takes more than its last axis together."
                )
            gain: Gain | None = "weight" if module.elementwise_affine else None
            yield path, _Form(isinstance(module, nn.LayerNorm), gain, module.eps)
        elif "norm" in type(module).__name__.lower() and not any(module.children()):
            unknown.append(path)
    if unknown:
        raise ConfigError(
            f"The form of {len(unknown)} norms is not known ({', '.join(unknown[:3])}, ...). Name "
            "all that are meant: norms={path: (centred, gain, eps)}."
        )


def _named_norms(
    model: nn.Module, norms: Mapping[str, tuple[bool, Gain | str | None, float]]
) -> Iterator[tuple[str, _Form]]:
    for path, (centred, word, eps) in norms.items():
        gain = check_choice("gain", word, GAINS)
        module = find_module(model, path)
        if gain is not None and not isinstance(getattr(module, "weight", None), Tensor):
            raise ConfigError(
                f"The norm {quoted(path)} has no weight to multiply by; give None as gain."
            )
        yield path, _Form(centred, gain, eps)
