"""How far the number format in use is from finer ones, with the same weights."""

from collections.abc import Iterator

import torch

from backlight.capture.checking.check import (
    PRECISION,
    Check,
    Tolerance,
    failed,
    judged,
    not_made,
)
from backlight.capture.checking.difference import Difference, difference_of
from backlight.capture.checking.measured import Measured
from backlight.capture.checking.sample import Sample
from backlight.errors import ModelError, NonFiniteError, beginning
from backlight.models.formats import in_format, name_of, size_in
from backlight.models.memory import free_memory
from backlight.models.subject import Subject

HALVES = (torch.float16, torch.bfloat16)
"""Number formats of two bytes."""

_REMEDY = (
    "{used} rounds this model's gradients by this much. Use --dtype float32 (the default) for "
    "numbers, or take rankings of the largest alone{more}."
)
_FAST = (
    "; matrix products are rounded to fewer digits than float32 has: "
    "torch.set_float32_matmul_precision('highest')"
)
_TOO_SMALL = (
    "So many gradients are too small for {used} and are zero. Use --dtype float32 or bfloat16."
)
_LOST = Tolerance(gradient=0.01, loss=0.0)
_NOISE = 1e-6  # of the largest: what should be zero is about this, where sums are rounded
_GIGABYTE = 1e9


def precision(sample: Sample, reference: Measured) -> Iterator[Check]:
    """Compare the number format in use with float32, if that is finer, and with float64."""
    used = name_of(sample.dtype)
    finer = [torch.float32, torch.float64] if sample.dtype in HALVES else [torch.float64]
    measured: Measured | None = None
    for dtype in finer:
        what, against = f"{used} (in use)", _finer_name(sample, dtype)
        found = in_finer(sample, dtype)
        if isinstance(found, str):
            yield not_made(what, against, found)
        elif isinstance(found, NonFiniteError):
            yield failed(what, against, f"In {against}, too: {found}")
        else:
            measured, difference = found, difference_of(reference, found)
            remedy = _REMEDY.format(used=used, more=_about_products(sample))
            yield judged(what, against, difference, PRECISION[sample.dtype], remedy=remedy)
    if sample.dtype in HALVES and measured is not None:
        yield _underflow(reference, measured, used)


def _finer_name(sample: Sample, dtype: torch.dtype) -> str:
    # Models compute norms in float32 whatever their weights are; ``in_format`` does not.
    return "float64 throughout" if sample.dtype == dtype else name_of(dtype)


def in_finer(sample: Sample, dtype: torch.dtype) -> Measured | NonFiniteError | str:
    """Measure with the model's weights in another format.

    Args:
        sample: The sample.
        dtype: The format.

    Returns:
        What was measured; the error, if that is no number; or why it cannot be measured.
    """
    reason = why_not(sample.subject, dtype)
    if reason is not None:
        return reason
    try:
        with in_format(sample.subject, dtype) as subject:
            return sample.measure(subject=subject)
    except NonFiniteError as error:
        return error
    except (RuntimeError, TypeError, ModelError) as error:
        return does_not_run(dtype, error)


def does_not_run(dtype: torch.dtype, error: Exception) -> str:
    """Say that a model cannot be run in another format, with the first line of the reason."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return f"the model does not run in {name_of(dtype)}: {beginning(reason, 150)}"


def why_not(subject: Subject, dtype: torch.dtype) -> str | None:
    """Say why a model cannot be run in another number format, as far as that is known before.

    Twice the size of the copy must be free: once for it, and once for what is computed.

    Args:
        subject: The model.
        dtype: The format.

    Returns:
        The reason; None if nothing stands against it.
    """
    device = subject.device
    if device.type == "mps" and dtype == torch.float64:
        return "mps has no float64 (--device cpu has)"
    size, free = size_in(subject.model, dtype), free_memory(device)
    if free is not None and 2 * size > free:
        return (
            f"twice the {size / _GIGABYTE:.1f} GB of its weights in {name_of(dtype)} must be free, "
            f"and {max(free, 0) / _GIGABYTE:.1f} GB are"
        )
    return None


def _about_products(sample: Sample) -> str:
    is_fast = torch.get_float32_matmul_precision() != "highest"
    return _FAST if sample.dtype == torch.float32 and is_fast else ""


def _underflow(reference: Measured, finer: Measured, used: str) -> Check:
    """Count gradients that are zero in the format in use, and not in the finer one."""
    shares = {
        site: _share_lost(list(passages.values()), list(finer.gradients[site].values()))
        for site, passages in reference.gradients.items()
    }
    worst = max(shares, key=shares.__getitem__)
    difference = Difference(
        num_sites=len(shares),
        gradient=shares[worst],
        site=worst if shares[worst] else "",
    )
    remedy = _TOO_SMALL.format(used=used)
    return judged(
        f"share of zeros in {used}", "not zero if finer", difference, _LOST, remedy=remedy
    )


def _share_lost(found: list[torch.Tensor], finer: list[torch.Tensor]) -> float:
    lost = sum(
        int(((own == 0) & (other.abs() > _NOISE * other.abs().max())).sum())
        for own, other in zip(found, finer, strict=True)
    )
    return lost / max(1, sum(own.numel() for own in found))
