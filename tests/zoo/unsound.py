"""A language model whose numbers are right until it is told what is to be wrong with them."""

import torch
from torch import nn
from torch.nn import functional

from backlight.models.modules import subject_from_module
from zoo.tokenizers import WordTokenizer

VOCABULARY, WIDTH = 99, 16


class Unsound(nn.Module):
    """Averages over past tokens; ``fault`` is set after it was proven at load."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.layers = nn.ModuleList(_Layer() for _ in range(3))
        self.out = nn.Linear(WIDTH, VOCABULARY)
        self.fault = None
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)

    def forward(self, ids):
        x = self.embedding(ids)
        for layer in self.layers:
            y = layer(x)
            x = x + y * getattr(y, "factor", 1.0)
        return self.out(FAULTS[self.fault](self, x) if self.fault else x)


class _Layer(nn.Module):
    leaves_a_note = False

    def __init__(self):
        super().__init__()
        self.past = nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH))

    def forward(self, x):
        counts = torch.arange(1, x.shape[1] + 1, device=x.device)[:, None]
        y = self.mlp(self.past(x).cumsum(dim=1) / counts)
        if self.leaves_a_note:
            y.factor = 1.1  # which another tensor in its place does not have
        return y


def _company(model, x):
    del model
    return x + 0.1 * x.mean(dim=(0, 1)) * (len(x) > 1)


def _positions_from_the_end(model, x):
    del model
    return x * torch.arange(x.shape[1], 0, -1)[:, None] / x.shape[1]


def _dropout_always_on(model, x):
    del model
    return functional.dropout(x, 0.1, training=True)


def _memory(model, x):
    model.calls = getattr(model, "calls", 0) + 1
    return x * (1 + 0.01 * model.calls)


class _Halved(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        del ctx
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        del ctx
        return 0.5 * gradient


def _halved_on_the_way_back(model, x):
    del model
    return _Halved.apply(x)


def _large_numbers(model, x):
    del model
    return (x + 1e5) - 1e5


def _overflow(model, x):
    del model
    return (x * 60_000.0) / 60_000.0


def _notes_on_tensors(model, x):
    del model
    return x


def _faint(model, x):
    del model
    return x * 1e-6


def _hooks_counted(model, x):
    return x * (1 + 0.1 * sum(len(module._forward_hooks) > 0 for module in model.modules()))


def _weights_written(model, x):
    model.out.weight.data.mul_(1.001)
    return x


def _not_finite(model, x):
    del model
    return x / 0.0


FAULTS = {
    "company": _company,
    "positions from the end": _positions_from_the_end,
    "dropout always on": _dropout_always_on,
    "memory": _memory,
    "halved on the way back": _halved_on_the_way_back,
    "large numbers": _large_numbers,
    "overflow": _overflow,
    "notes on tensors": _notes_on_tensors,
    "faint": _faint,
    "hooks counted": _hooks_counted,
    "weights written": _weights_written,
    "not finite": _not_finite,
}


def unsound(fault=None, dtype=torch.float32):
    """Load the model, and then let it go wrong."""
    model = Unsound().to(dtype)
    subject = subject_from_module(model, WordTokenizer(), name="unsound")
    model.fault = fault
    for layer in model.layers:
        layer.leaves_a_note = fault == "notes on tensors"
    return subject
