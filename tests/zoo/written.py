"""Language models as people write them: every layout, every form of output, every wiring.

A model is put together from three choices that do not know of each other. What a block computes is
the same in all of them, so the gradient is known by plain hooks wherever the block's stream is.
"""

from collections import namedtuple
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from torch.autograd.graph import get_gradient_edge
from transformers.modeling_outputs import CausalLMOutputWithPast

WIDTH, HEADS, VOCABULARY = 8, 2, 21

Named = namedtuple("Named", ["hidden", "extra"])


@dataclass(frozen=True)
class Block:
    """A frozen dataclass, as some blocks return."""

    hidden: torch.Tensor
    extra: Any = None


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a stream is laid out inside of a model: from ``[batch, positions, width]`` and back."""

    lay: Callable[[torch.Tensor], torch.Tensor]
    back: Callable[[torch.Tensor, int, int], torch.Tensor]


def _heads(x):
    return x.unflatten(-1, (HEADS, -1))


LAYOUTS: Mapping[str, Layout] = {
    "B T W": Layout(lay=lambda x: x, back=lambda x, b, t: x),
    "T B W": Layout(lay=lambda x: x.transpose(0, 1), back=lambda x, b, t: x.transpose(0, 1)),
    "B W T": Layout(lay=lambda x: x.transpose(1, 2), back=lambda x, b, t: x.transpose(1, 2)),
    "W T B": Layout(lay=lambda x: x.permute(2, 1, 0), back=lambda x, b, t: x.permute(2, 1, 0)),
    "T W B": Layout(lay=lambda x: x.permute(1, 2, 0), back=lambda x, b, t: x.permute(2, 0, 1)),
    "B H T D": Layout(
        lay=lambda x: _heads(x).transpose(1, 2), back=lambda x, b, t: x.transpose(1, 2).flatten(2)
    ),
    "B T H D": Layout(lay=_heads, back=lambda x, b, t: x.flatten(2)),
    "T B H D": Layout(
        lay=lambda x: _heads(x).transpose(0, 1), back=lambda x, b, t: x.transpose(0, 1).flatten(2)
    ),
    "B 1 T W": Layout(lay=lambda x: x.unsqueeze(1), back=lambda x, b, t: x.squeeze(1)),
    "BT W": Layout(lay=lambda x: x.flatten(0, 1), back=lambda x, b, t: x.unflatten(0, (b, t))),
}

# What a block returns, where its stream is in it, and how its caller reads it.
BLOCKS: Mapping[str, tuple[Callable[..., Any], Callable[[Any], torch.Tensor]]] = {
    "tensor": (lambda x, a: x, lambda y: y),
    "tuple": (lambda x, a: (x, None), lambda y: y[0]),
    "tuple of one": (lambda x, a: (x,), lambda y: y[0]),
    "residual second": (lambda x, a: (None, x), lambda y: y[1]),
    "residual behind what is not used": (lambda x, a: (a, x), lambda y: y[1]),
    "residual before what is not used": (lambda x, a: (x, a), lambda y: y[0]),
    "state in a tuple": (lambda x, a: (x, (a, a)), lambda y: y[0]),
    "list": (lambda x, a: [x, None], lambda y: y[0]),
    "dict": (lambda x, a: {"hidden": x, "cache": None}, lambda y: y["hidden"]),
    "dataclass": (lambda x, a: Block(hidden=x), lambda y: y.hidden),
    "named tuple": (lambda x, a: Named(x, None), lambda y: y.hidden),
    "namespace": (lambda x, a: SimpleNamespace(extra=1, hidden=x), lambda y: y.hidden),
}

# What a model returns, and its logits as [batch, positions, vocabulary].
OUTPUTS: Mapping[str, tuple[Callable[..., Any], Callable[..., torch.Tensor]]] = {
    "logits": (lambda x: x, lambda y, b, t: y),
    "logits, no loss": (lambda x: (x, None), lambda y, b, t: y[0]),
    "logits, loss": (lambda x: (x, x.mean()), lambda y, b, t: y[0]),
    "loss, logits": (lambda x: (x.mean(), x), lambda y, b, t: y[1]),
    "logits, cache": (lambda x: (x, [(x, x)]), lambda y, b, t: y[0]),
    "dict": (lambda x: {"loss": None, "logits": x}, lambda y, b, t: y["logits"]),
    "dict with hidden states": (
        lambda x: {"hidden": 2 * x, "logits": x},
        lambda y, b, t: y["logits"],
    ),
    "dict of another name": (lambda x: {"scores": x}, lambda y, b, t: y["scores"]),
    "dataclass": (lambda x: Block(hidden=x), lambda y, b, t: y.hidden),
    "namespace": (lambda x: SimpleNamespace(logits=x), lambda y, b, t: y.logits),
    "model output": (lambda x: CausalLMOutputWithPast(logits=x), lambda y, b, t: y.logits),
    "T B V": (lambda x: x.transpose(0, 1), lambda y, b, t: y.transpose(0, 1)),
    "B V T": (lambda x: x.transpose(1, 2), lambda y, b, t: y.transpose(1, 2)),
    "BT V": (lambda x: x.flatten(0, 1), lambda y, b, t: y.unflatten(0, (b, t))),
}


class _Block(nn.Module):
    def __init__(self, layout, returns):
        super().__init__()
        self.layout, self.returns = layout, returns
        self.norm = nn.LayerNorm(WIDTH)
        self.mix, self.out = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x, batch, positions):
        x = self.layout.back(x, batch, positions)
        y = self.norm(x)
        count = torch.arange(1, positions + 1, dtype=x.dtype, device=x.device)[:, None]
        past = self.mix(y).cumsum(dim=1) / count
        branch = self.out(torch.tanh(past) * y)
        return self.returns(self.layout.lay(x + branch), self.layout.lay(branch))


class Written(nn.Module):
    """A causal language model of two blocks."""

    def __init__(self, layout="B T W", block="tensor", output="logits"):
        super().__init__()
        self.layout, self.output = LAYOUTS[layout], OUTPUTS[output][0]
        returns, self.stream = BLOCKS[block]
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.blocks = nn.ModuleList(_Block(self.layout, returns) for _ in range(2))
        self.head = nn.Linear(WIDTH, VOCABULARY)

    def forward(self, ids):
        x = self.layout.lay(self.embedding(ids))
        for block in self.blocks:
            x = self.stream(block(x, *ids.shape))
        return self.output(self.head(self.layout.back(x, *ids.shape)))


def expected_gradients(model, logits_of, stream_of, paths, batch):
    """Take the gradient of each sequence's mean loss at some modules by plain hooks and autograd.

    Args:
        model: The model; it is run as everybody runs it, one unpadded sequence at a time.
        logits_of: From its output, and the numbers of sequences and tokens, to logits.
        stream_of: From a module's output to the tensor that is looked at.
        paths: The modules.
        batch: The passages.

    Returns:
        For each path and passage the gradient, as the model has the tensor.
    """
    found = {path: [] for path in paths}
    for row, length in enumerate(batch.lengths.tolist()):
        edges, handles = {}, []
        for path in paths:

            def hook(module, inputs, output, path=path, edges=edges):
                # Taken here, of a copy where that is easy: what is written into it later is another
                # matter.
                output = output.clone() if isinstance(output, torch.Tensor) else output
                edges.setdefault(path, get_gradient_edge(stream_of(output)))
                return output

            handles.append(model.get_submodule(path).register_forward_hook(hook))
        ids = batch.input_ids[row : row + 1, :length]
        logits = logits_of(model(ids), 1, length)
        loss = nn.functional.cross_entropy(logits[0, :-1], ids[0, 1:])
        gradients = torch.autograd.grad(loss, [edges[path] for path in paths])
        for handle in handles:
            handle.remove()
        for path, gradient in zip(paths, gradients, strict=True):
            found[path].append(gradient)
    return found
