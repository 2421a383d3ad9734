"""A small network, plain training loops, and what they should be seen to do."""

import torch
from torch import nn

WIDTH = 6


class Stack(nn.Module):
    """An embedding, three residual blocks in a list, and a head; returns the loss."""

    def __init__(self, *, dropout=0.0, tied=False, dtype=torch.float64):
        super().__init__()
        torch.manual_seed(7)
        self.embed = nn.Embedding(11, WIDTH)
        self.blocks = nn.ModuleList(Block(dropout) for _ in range(3))
        self.head = nn.Linear(WIDTH, 11, bias=False)
        self.unused = nn.Linear(2, 2)
        if tied:
            self.head.weight = self.embed.weight
        self.to(dtype)

    def forward(self, tokens, targets=None):
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        logits = self.head(x)
        if targets is None:
            return logits
        return {"loss": nn.functional.cross_entropy(logits, targets), "logits": logits}


class Block(nn.Module):
    def __init__(self, dropout):
        super().__init__()
        self.down = nn.Linear(9, WIDTH)  # registered first, used last
        self.up = nn.Linear(WIDTH, 9)
        self.norm = nn.LayerNorm(WIDTH)
        self.drop = nn.Dropout(dropout)

    def forward(self, x):
        return x + self.drop(self.down(self.up(self.norm(x)).relu()))


def batches(number, size=8):
    generator = torch.Generator().manual_seed(13)
    return [torch.randint(0, 11, (2, size), generator=generator) for _ in range(number)]


def train(model, optimizer, number=6, *, clip=None, accumulate=1, before_step=None, start=0):
    """A plain loop; gives what it saw: gradients, raw and clipped, and weights."""
    seen = []
    for step in range(start, number):
        optimizer.zero_grad()
        tokens, targets = batches(number)[step]
        for part in range(accumulate):
            piece = slice(part * len(tokens) // accumulate, (part + 1) * len(tokens) // accumulate)
            (model(tokens[piece], targets[piece])["loss"] / accumulate).backward()
        raw = {name: None if p.grad is None else p.grad.clone() for name, p in named(model)}
        norm = None
        if clip is not None:
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        if before_step is not None:
            before_step(step + 1, model)
        clipped = {name: None if p.grad is None else p.grad.clone() for name, p in named(model)}
        before = {name: p.detach().clone() for name, p in named(model)}
        optimizer.step()
        after = {name: p.detach().clone() for name, p in named(model)}
        seen.append(
            {"raw": raw, "norm": norm, "clipped": clipped, "before": before, "after": after}
        )
    return seen


def named(model):
    return list(model.named_parameters())


def global_norm(gradients):
    return sum(g.double().square().sum() for g in gradients.values() if g is not None).sqrt().item()
