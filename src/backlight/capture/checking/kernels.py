"""Whether the attention kernel in use gives the gradients that another one gives."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from backlight.capture.checking.check import Check, not_made
from backlight.capture.checking.difference import difference_of
from backlight.capture.checking.measured import Measured
from backlight.capture.checking.sample import Sample

_REMEDY = (
    "The attention kernels do not agree. Eager attention is the plain formula: measure with "
    "--attn_implementation eager (in Python, load the model so)."
)
_PLAIN = (
    "PyTorch's fast attention kernel does not agree with its plain formula. Measure inside of "
    "torch.nn.attention.sdpa_kernel(SDPBackend.MATH), and report it to PyTorch."
)
_ONE = "its library offers no other kernel than {kernel} for this model"
_NONE = "its attention goes through no interface at which kernels can be exchanged"


def kernels(sample: Sample, reference: Measured) -> Iterator[Check]:
    """Compare the attention kernel in use with the others that the model can be run with."""
    native = sample.subject.native
    others = [] if native is None else [each for each in native.kernels if each != native.kernel]
    if native is not None:
        for kernel in others:
            with native.attending(kernel):
                other = sample.measure()
            yield sample.judged(
                f"kernel {native.kernel} (in use)",
                f"kernel {kernel}",
                difference_of(reference, other),
                remedy=_REMEDY,
            )
    if not others:
        yield _fast_against_plain(sample, reference)


def _fast_against_plain(sample: Sample, reference: Measured) -> Check:
    """Compare PyTorch's own choice of a kernel with the plain formula, where a model leaves it."""
    what, against = "kernel of PyTorch", "its plain formula"
    seen = _Attention()
    with torch.no_grad(), seen:
        sample.subject.forward(sample.batch.input_ids)
    if not seen.calls:
        native = sample.subject.native
        reason = _NONE if native is None else _ONE.format(kernel=native.kernel)
        return not_made("attention kernel", "another kernel", reason)
    with sdpa_kernel(SDPBackend.MATH):
        plain = sample.measure()
    return sample.judged(what, against, difference_of(reference, plain), remedy=_PLAIN)


class _Attention(TorchFunctionMode):
    """Counts calls of PyTorch's attention function."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        del types
        self.calls += func is torch.nn.functional.scaled_dot_product_attention
        return func(*args, **(kwargs or {}))
