"""Which modules are norms, and what each computes: fitted to what it gives, large and small.

What a norm adds under the root cannot be seen where its input is large, and its gain is blurred by
it where the input is small. So all norms are given their own inputs once more, large at every other
token and small at those between, in a sequence of which nothing else is used.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor, nn

from backlight.models.discovery.observing import Instead, Observation
from backlight.models.wiring.norm_form import NormForm

_LARGE, _SMALL = (
    1e2,
    1e-4,
)  # root mean square; what is added under the root is between 1e-12 and 1e-3
_TOLERANCE, _TOLERANCE_IN_HALF = 64, 2  # roundings, of the largest number of a row
_HALF = 1e-4


def norm_probes(model: nn.Module, seen: Observation, width: int) -> dict[str, Instead]:
    """Say what modules that could be norms have to be given to show what they compute.

    Args:
        model: The model.
        seen: What passed.
        width: The width of the stream.

    Returns:
        By path, large and small rows in the place of the last sequence.
    """
    paths = [path for path in seen.given if _may_be_norm(model.get_submodule(path))]
    paths = [p for p in paths if p in seen.gave and seen.gave[p].rows.shape[-1] == width]
    probes: dict[str, Instead] = {}
    for path in paths:
        rows = seen.given[path].rows[-1:].double()
        size = torch.full_like(rows[..., :1], _LARGE)
        size[:, 1::2] = _SMALL
        scaled = rows * (size / rows.square().mean(-1, keepdim=True).sqrt())
        scaled = scaled + size / 2  # so that it shows whether a mean is taken off
        probes[path] = Instead(
            first=len(seen.output) - 1, rows=scaled.to(seen.given[path].rows.dtype)
        )
    return probes


def fit_norms(
    model: nn.Module, probes: Mapping[str, Instead], seen: Observation, probed: Observation
) -> dict[str, NormForm]:
    """Find all norms of rows as wide as the stream.

    Args:
        model: The model.
        probes: What they were given.
        seen: What passed.
        probed: What passed when they were given it.

    Returns:
        The norms whose formula was proven, by their paths.
    """
    forms: dict[str, NormForm] = {}
    for path, probe in probes.items():
        if path not in probed.gave:
            continue
        module, gave = model.get_submodule(path), probed.gave[path].rows[probe.first]
        x, y = probe.rows[0].double(), gave.double()
        pairs = [(x[::2], y[::2]), (x[1::2], y[1::2]), _natural(seen, path)]
        form = _fitted(module, path, pairs, _rounding(gave))
        if form is not None:
            forms[path] = replace(form, axes=seen.given[path].tap.axes)
    return forms


def _natural(seen: Observation, path: str) -> tuple[Tensor, Tensor]:
    given, gave = seen.given[path].rows, seen.gave[path].rows
    return given.double().flatten(0, 1), gave.double().flatten(0, 1)


def _rounding(gave: Tensor) -> float:
    # Most norms compute in float32, whatever they are given.
    return max(torch.finfo(gave.dtype).eps, torch.finfo(torch.float32).eps)


def holds(form: NormForm, model: nn.Module, given: Tensor, gave: Tensor) -> bool:
    """Whether a norm's formula gives what the norm gave for some rows."""
    module = model.get_submodule(form.module)
    found = normalized(form, module, given.double())
    return given.shape == gave.shape and _close(found, gave.double(), _rounding(gave))


def _may_be_norm(module: nn.Module) -> bool:
    parameters = list(module.parameters(recurse=False))
    return (
        not any(True for _ in module.children())
        and len(parameters) <= 2
        and all(parameter.dim() == 1 for parameter in parameters)
    )


def _fitted(
    module: nn.Module, path: str, pairs: Sequence[tuple[Tensor, Tensor]], rounding: float
) -> NormForm | None:
    """Try the formulas of norms with the module's own parameters; one must hold, and only one."""
    large, small, _ = pairs
    found: list[NormForm] = []
    for is_centred, (gain, is_unit_offset, bias) in product((False, True), _parameters(module)):
        form = NormForm(
            module=path,
            is_centred=is_centred,
            gain=gain,
            is_unit_offset=is_unit_offset,
            bias=bias,
            eps=0.0,
        )
        if not _close(normalized(form, module, large[0]), large[1], max(rounding, 1e-6)):
            continue
        eps = _eps(form, module, *small)
        if eps is None:
            continue
        # Those who write models write short decimals.
        for digits in (0,) if rounding > _HALF else (2, 4, 16):
            form = replace(form, eps=float(f"{eps:.{digits}e}"))
            if all(_close(normalized(form, module, x), y, rounding) for x, y in pairs):
                found.append(form)
                break
    return found[0] if len(found) == 1 else None


def _parameters(module: nn.Module) -> Iterator[tuple[str | None, bool, str | None]]:
    """List which parameter could be the gain, with an offset or without, and which the bias."""
    names = [name for name, _ in module.named_parameters(recurse=False)]
    if not names:
        yield None, False, None
    for gain in names:
        rest = [name for name in names if name != gain]
        for is_unit_offset in (False, True):
            yield gain, is_unit_offset, rest[0] if rest else None


def normalized(
    form: NormForm, module: nn.Module, x: Float[Tensor, "*tokens width"]
) -> Float[Tensor, "*tokens width"]:
    """Compute a norm's output from its formula."""
    centred = x - x.mean(dim=-1, keepdim=True) if form.is_centred else x
    y = centred / (centred.square().mean(dim=-1, keepdim=True) + form.eps).sqrt()
    if form.gain is not None:
        y = y * (getattr(module, form.gain).to(y.dtype) + float(form.is_unit_offset))
    return y if form.bias is None else y + getattr(module, form.bias).to(y.dtype)


def _eps(form: NormForm, module: nn.Module, x: Tensor, y: Tensor) -> float | None:
    """Solve for what is added under the root, where the input is so small that it shows."""
    bias = 0.0 if form.bias is None else getattr(module, form.bias).double()
    free = normalized(form, module, x) - bias
    ratio = ((y - bias) * free).sum(-1) / free.square().sum(-1)
    centred = x - x.mean(dim=-1, keepdim=True) if form.is_centred else x
    square = centred.square().mean(dim=-1)
    eps = float((square / ratio.square() - square).median())
    if not eps >= -1e-10:
        return None
    return max(eps, 0.0)


def _close(found: Tensor, expected: Tensor, rounding: float) -> bool:
    size = expected.abs().amax(-1, keepdim=True)
    times = _TOLERANCE if rounding < _HALF else _TOLERANCE_IN_HALF
    return bool(((found - expected).abs() <= times * rounding * size).all())
