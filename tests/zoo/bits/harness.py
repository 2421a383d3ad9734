"""How a training is run with and without the watch, and what is compared to the last bit."""

import math
import random
from collections.abc import Mapping
from contextlib import nullcontext

import numpy as np
import torch
from torch import nn

from backlight.training import watch

SCENARIOS = {}


def scenario(function):
    """Take a training into the table, under its name."""
    assert function.__name__ not in SCENARIOS
    SCENARIOS[function.__name__] = function
    return function


class Training:
    """Given to a scenario: attaches the watch, or nothing, and collects what is compared."""

    def __init__(self, folder, watched):
        self.folder, self.watched = folder, watched
        self.monitors, self.found = [], []

    def watch(self, model, optimizer, run_dir=None, **options):
        if not self.watched:
            return nullcontext()
        path = None if run_dir is None else self.folder / run_dir
        options = {"schedule": 2, "status": False, **options}
        self.monitors.append(watch(model, optimizer, path, **options))
        return self.monitors[-1]

    def keep(self, *values):
        self.found.extend(map(plain, values))


def run(name, folder, watched):
    """Run a scenario from fixed seeds; give its last state, and its watches."""
    torch.manual_seed(1)
    random.seed(2)
    np.random.seed(3)
    training = Training(folder, watched)
    SCENARIOS[name](training)
    generators = (torch.get_rng_state(), random.getstate(), np.random.get_state())
    return [*training.found, plain(generators)], training.monitors


def plain(value):
    """Turn anything into bytes and numbers that are equal only if every bit is."""
    if isinstance(value, nn.Module):
        modes = [module.training for module in value.modules()]
        named = [*value.named_parameters(), *value.named_buffers()]
        wanted = [parameter.requires_grad for parameter in value.parameters()]
        return [modes, wanted, [(name, plain(tensor)) for name, tensor in named]]
    if isinstance(value, torch.optim.Optimizer):
        return plain(value.state_dict())
    if isinstance(value, torch.Tensor):
        return tensor_bits(value.detach())
    if isinstance(value, np.ndarray):
        return (str(value.dtype), value.tobytes())
    if isinstance(value, Mapping):
        return [(str(key), plain(inner)) for key, inner in value.items()]
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return repr(value)


def tensor_bits(tensor):
    if tensor.is_meta:
        return ("meta", tuple(tensor.shape))
    if tensor.is_quantized:
        tensor = tensor.int_repr()
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    flat = tensor.contiguous().reshape(-1)
    return (str(tensor.dtype), tuple(tensor.shape), flat.view(torch.uint8).numpy().tobytes())


def net(*inside):
    """A small network."""
    return nn.Sequential(nn.Linear(4, 5), *(inside or (nn.Tanh(),)), nn.Linear(5, 1))


def sgd(model, **options):
    return torch.optim.SGD(model.parameters(), **{"lr": 0.1, "momentum": 0.9, **options})


def clean(model):
    """Continue after NaN, as a user may."""
    for parameter in model.parameters():
        if parameter.grad is not None and parameter.grad.layout == torch.strided:
            parameter.grad.nan_to_num_(posinf=0.0, neginf=0.0)


def factor(step, bad):
    return math.nan if step in bad else 1.0


def steps(model, optimizer, *, number=8, bad=(3,), call=None, first=0):
    """A plain loop in which the gradients of some steps are NaN."""
    for step in range(first, number):
        x = torch.randn(3, 4)
        output = model(x) if call is None else call(model, x, step)
        optimizer.zero_grad()
        (output.square().mean() * factor(step, bad)).backward()
        clean(model)
        optimizer.step()


def simple(training, model, optimizer=None, *, loop=None, run_dir=None, options=None, **names):
    """Watch a plain loop, and keep the model and the optimizer."""
    optimizer = optimizer or sgd(model)
    with training.watch(model, optimizer, run_dir, **(options or {})):
        (loop or steps)(model, optimizer, **names)
    training.keep(model, optimizer)
