"""Whether the state that a model is in, or is left in, matters: its mode, its memory, chance."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from backlight.capture.checking.check import EXACT, Check, failed, judged, passed
from backlight.capture.checking.difference import Difference, difference_of, relative_to_largest
from backlight.capture.checking.measured import Measured
from backlight.capture.checking.sample import Sample
from backlight.models.lending import borrowed
from backlight.models.sites import Site
from backlight.models.taps import tapping

_ALWAYS = (
    "Two passes over the same tokens differ: chance is at work (dropout that is always on), the "
    "model remembers former passes, or a kernel adds in no fixed order (on a GPU: "
    "torch.use_deterministic_algorithms(True)). Numbers smaller than this difference mean nothing."
)
_TRAINING = (
    "Training mode reaches the numbers although evaluation mode is set: something asks neither "
    "module.training nor takes its word. Call model.eval() by yourself and compare."
)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
_LOOKED_AT = "Looking at a site changes what the model computes. Please report it."
_LEFT = "The model was not given back as it was: {what}. Load it again before it is used."


def twice(sample: Sample, reference: Measured) -> Iterator[Check]:
    """Compare two passes over the same batch, bit for bit."""
    del reference
    # In one loan: it puts the state of random numbers back, and two loans would draw the same.
    with borrowed(sample.subject.model):
        first, second = sample.measure(), sample.measure()
    difference = difference_of(second, first)
    yield judged("the same batch again", "the first time", difference, EXACT, remedy=_ALWAYS)


def training_mode(sample: Sample, reference: Measured) -> Iterator[Check]:
    """Compare a model that is handed over in training mode with the one in evaluation mode."""
    what, against = "in training mode", "in evaluation mode"
    modules = list(sample.subject.model.modules())
    modes = [module.training for module in modules]
    try:
        # Not model.train(): some override it to merge weights, which costs their last bits.
        for module in modules:
            module.training = True
        found = sample.measure()
        is_given_back = all(module.training for module in modules)
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode
    if is_given_back:
        difference = difference_of(found, reference)
        yield sample.judged(what, against, difference, remedy=_TRAINING)
    else:
        yield failed(what, against, _LEFT.format(what="it was in training mode and is not now"))


def looked_at(sample: Sample, reference: Measured) -> Iterator[Check]:
    """Compare the model's output with and without hooks at all sites."""
    del reference
    batch, subject = sample.batch, sample.subject
    with torch.no_grad(), borrowed(subject.model):
        plain = subject.forward(batch.input_ids)[batch.valid].clone()
        with tapping(subject, sample.sites, only_seen):
            tapped = subject.forward(batch.input_ids)[batch.valid]
    difference = Difference(num_sites=len(sample.sites), loss=relative_to_largest(tapped, plain))
    # Not to the bit: PyTorch has a fast way through some modules, which hooks switch off.
    yield sample.judged("all sites looked at", "the model untouched", difference, remedy=_LOOKED_AT)


def only_seen(site: Site, tensor: Tensor) -> Tensor:
    """Look at a site's tensor and let it pass."""
    del site
    return tensor


def condition_of(model: nn.Module) -> dict[str, object]:
    """Describe what must be the same when a model is given back.

    Args:
        model: The model.

    Returns:
        By name: modes, hooks, what needs a gradient, and sums over the bits of all numbers.
    """
    modules = dict(model.named_modules())
    return {
        "training mode": [module.training for module in modules.values()],
        "hooks": [len(vars(module)[name]) for module in modules.values() for name in _HOOKS],
        "what needs a gradient": [each.requires_grad for each in model.parameters()],
        "which tensors are its weights": [id(each) for each in model.parameters()],
        "weights": [_bits(each) for each in (*model.parameters(), *model.buffers())],
    }


def given_back(before: dict[str, object], after: dict[str, object]) -> Check:
    """Compare two descriptions of a model.

    Args:
        before: What ``condition_of`` said at first.
        after: What it says now.

    Returns:
        The check.
    """
    what, against = "the model afterwards", "before"
    changed = [name for name, value in before.items() if after[name] != value]
    if changed:
        return failed(what, against, _LEFT.format(what=", ".join(changed)))
    return passed(what, against)


def _bits(tensor: Tensor) -> object:
    """Add up the bits of a tensor's numbers, in a way that sees where they stand."""
    numbers = tensor.detach()
    if numbers.layout != torch.strided or numbers.is_meta or numbers.is_quantized:
        return None
    flat = numbers.contiguous().flatten().view(torch.uint8)
    rows = flat[: len(flat) // 4 * 4].view(torch.int32)
    return int(rows.sum()), int(flat[len(flat) // 4 * 4 :].sum()), int(rows[::7].sum())
