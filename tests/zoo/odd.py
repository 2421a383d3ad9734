"""Hand-written language models with a quirk each: those that work, and those that must not."""

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from zoo.written import VOCABULARY, WIDTH

SAME = "B T W"


class Plain(nn.Module):
    """Two blocks that do nothing unusual."""

    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(VOCABULARY, WIDTH)
        self.blocks = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(2))
        self.out = nn.Linear(WIDTH, VOCABULARY)

    def body(self, x):
        for block in self.blocks:
            x = x + torch.tanh(block(x)).cumsum(dim=1)
        return x

    def forward(self, ids):
        return self.out(self.body(self.emb(ids)))


class Lstm(Plain):
    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(WIDTH, WIDTH, 2, dropout=0.3)

    def body(self, x):
        return self.rnn(x.transpose(0, 1))[0].transpose(0, 1)


class Gru(Plain):
    """Runs and answers with positions first, and hands its state back too."""

    logits = staticmethod(lambda y, b, t: y[0].transpose(0, 1))

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(WIDTH, WIDTH)

    def forward(self, ids):
        output, state = self.rnn(self.emb(ids.t()))
        return self.out(output), state


class Convolutions(Plain):
    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv1d(WIDTH, WIDTH, 3) for _ in range(2))

    def body(self, x):
        x = x.transpose(1, 2)
        for conv in self.convs:
            x = x + torch.tanh(conv(functional.pad(x, (2, 0))))
        return x.transpose(1, 2)


class TrimmedConvolution(Plain):
    """Pads on both sides and cuts off what is too much: its tensor has more than the tokens."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(WIDTH, WIDTH, 3, padding=2)

    def body(self, x):
        return self.conv(x.transpose(1, 2))[..., :-2].transpose(1, 2)


class TorchEncoder(Plain):
    """PyTorch's own layers, with positions first and a mask; they have a shortcut of their own."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(WIDTH, 2, 16, 0.1)
        self.enc = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def body(self, x):
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], dtype=x.dtype)
        return self.enc(x.transpose(0, 1), mask=mask, is_causal=True).transpose(0, 1)


class TorchEncoderBatchFirst(Plain):
    def __init__(self):
        super().__init__()
        self.enc = nn.ModuleList(
            nn.TransformerEncoderLayer(WIDTH, 2, 16, 0.1, batch_first=True) for _ in range(2)
        )

    def body(self, x):
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], dtype=x.dtype)
        for layer in self.enc:
            x = layer(x, src_mask=mask, is_causal=True)
        return x


class Attention(Plain):
    """``nn.MultiheadAttention`` gives its weights as well."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, 2)

    def body(self, x):
        x = x.transpose(0, 1)
        mask = nn.Transformer.generate_square_subsequent_mask(len(x), dtype=x.dtype)
        return (x + self.attention(x, x, x, attn_mask=mask)[0]).transpose(0, 1)


class _StateSpace(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.step = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.conv = nn.Conv1d(WIDTH, WIDTH, 4, groups=WIDTH, padding=3)
        self.out, self.decay = nn.Linear(WIDTH, WIDTH), nn.Parameter(torch.rand(WIDTH))

    def forward(self, x):
        x, gate = self.inner(x).chunk(2, dim=-1)
        x = functional.silu(self.conv(x.transpose(1, 2))[..., : x.shape[1]]).transpose(1, 2)
        step, state, states = torch.sigmoid(self.step(x)), torch.zeros_like(x[:, 0]), []
        for position in range(x.shape[1]):
            state = state * torch.exp(-self.decay * step[:, position]) + x[:, position]
            states.append(state)
        return self.out(torch.stack(states, dim=1) * functional.silu(gate))


class StateSpace(Plain):
    """Like Mamba: a gate, a convolution, a recurrence."""

    def __init__(self):
        super().__init__()
        self.mixers = nn.ModuleList(_StateSpace() for _ in range(2))

    def body(self, x):
        for mixer in self.mixers:
            x = x + mixer(x)
        return x


class _Checkpointed(Plain):
    reentrant = False

    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Dropout(0.5))
            for _ in range(2)
        )

    def body(self, x):
        for part in self.parts:
            x = x + checkpoint(part, x, use_reentrant=self.reentrant)
        return x


class Checkpointed(_Checkpointed):
    """Also at sites within a block that is run again on the way back."""


class CheckpointedFromWithin(_Checkpointed):
    """The first site is within the second block, so only its end has a graph."""


class InPlace(Plain):
    def body(self, x):
        for block in self.blocks:
            x = torch.tanh(block(x).add_(1.0).mul_(2.0)).cumsum(dim=1)
        return x


class InPlaceStream(Plain):
    def body(self, x):
        for block in self.blocks:
            x += torch.tanh(block(x.clone())).cumsum(dim=1)
        return x


class Detaching(Plain):
    """What comes before the cut has no gradient; what comes after has its own."""

    def body(self, x):
        return x + self.blocks[1](self.blocks[0](x).detach())


class Tied(Plain):
    def __init__(self):
        super().__init__()
        self.out.weight = self.emb.weight


class Normed(Plain):
    """Batch statistics of a training, which evaluation takes as they are."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(WIDTH)

    def body(self, x):
        return super().body(self.norm(x.transpose(1, 2)).transpose(1, 2))


class Parametrised(Plain):
    def __init__(self):
        super().__init__()
        nn.utils.parametrizations.spectral_norm(self.blocks[0])
        nn.utils.parametrizations.weight_norm(self.blocks[1])


class Positions(Plain):
    def __init__(self):
        super().__init__()
        self.positions = nn.Embedding(64, WIDTH)

    def body(self, x):
        return super().body(x + self.positions(torch.arange(x.shape[1])))


class Masked(Plain):
    """Leaves pads out by itself, and forbids tokens that are there to round its vocabulary up."""

    def __init__(self):
        super().__init__()
        self.out = nn.Linear(WIDTH, VOCABULARY + 3)

    def forward(self, ids):
        there = (ids != 0)[..., None]
        x = (self.emb(ids) * there).cumsum(dim=1) / there.cumsum(dim=1).clamp(min=1)
        unused = torch.arange(VOCABULARY + 3) >= VOCABULARY
        return self.out(self.body(x)).masked_fill(unused, float("-inf"))


class OtherName(Plain):
    """The same module under two paths, used once."""

    def __init__(self):
        super().__init__()
        self.first = self.blocks[0]


class Experts(Plain):
    """Tokens one after the other, and experts that see some of them."""

    def __init__(self):
        super().__init__()
        self.up, self.gate = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 2)
        self.experts = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(2))

    def body(self, x):
        flat = self.up(x.flatten(0, 1))
        shares = self.gate(flat).softmax(dim=-1)
        chosen, y = shares.argmax(dim=-1), torch.zeros_like(flat)
        for number, expert in enumerate(self.experts):
            here = chosen == number
            y[here] = expert(flat[here]) * shares[here, number, None]
        return x + y.view_as(x)


WORKING = {
    Lstm: {"rnn": "T B W"},
    Gru: {"rnn": "T B W", "emb": "T B W"},
    Convolutions: {"convs.0": "B W T", "convs.1": "B W T"},
    TorchEncoder: {"enc.layers.0": "T B W", "enc.layers.1.linear2": "T B W"},
    TorchEncoderBatchFirst: {"enc.0": SAME, "enc.1.norm1": SAME},
    Attention: {"attention": "T B W"},
    StateSpace: {"mixers.0": SAME, "mixers.1": SAME, "mixers.0.inner": SAME},
    Checkpointed: {"parts.0": SAME, "parts.0.1": SAME, "parts.1.0": SAME, "parts.1.2": SAME},
    CheckpointedFromWithin: {"parts.1.1": SAME},
    InPlace: {"emb": SAME, "blocks.0": SAME, "blocks.1": SAME},
    InPlaceStream: {"emb": SAME, "blocks.0": SAME, "blocks.1": SAME},
    Detaching: {"blocks.1": SAME},
    Tied: {"blocks.0": SAME, "blocks.1": SAME},
    Normed: {"blocks.0": SAME, "norm": "B W T"},
    Parametrised: {"blocks.0": SAME, "blocks.1": SAME},
    Positions: {"blocks.0": SAME},
    Masked: {"blocks.0": SAME},
    OtherName: {"blocks.0": SAME, "first": SAME},
    Experts: {"up": "BT W"},
}
"""Models with numbers, and how the tensor at some of their modules is laid out."""


class _With(Plain):
    def __init__(self, module=None):
        super().__init__()
        self.extra = module


def _changing(change, module=None):
    """Make a model whose logits are changed; ``change`` is given the model, logits and tokens."""

    def make():
        class Changed(_With):
            def forward(self, ids):
                return change(self, super().forward(ids), ids)

        return Changed(None if module is None else module())

    return make


class _Bidirectional(Plain):
    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(WIDTH, WIDTH // 2, bidirectional=True, batch_first=True)

    def body(self, x):
        return self.rnn(x)[0]


class _Encoder(TorchEncoder):
    def body(self, x):
        return self.enc(x.transpose(0, 1)).transpose(0, 1)


class _Chunked(Plain):
    """Sees all of its chunk of four tokens."""

    def body(self, x):
        parts = [part + part.mean(dim=1, keepdim=True) for part in x.split(4, dim=1)]
        return torch.cat(parts, dim=1)


class _CentredConvolution(Plain):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(WIDTH, WIDTH, 3, padding=1)

    def body(self, x):
        return self.conv(x.transpose(1, 2)).transpose(1, 2)


class _BatchStatistics(Plain):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(WIDTH, track_running_stats=False)

    def body(self, x):
        return self.norm(x.transpose(1, 2)).transpose(1, 2)


class _FromTheEnd(Positions):
    def body(self, x):
        return x + self.positions(torch.arange(x.shape[1]).flip(0))


class _PaddedInside(Plain):
    """Fills every sequence up to eight tokens on the left."""

    def body(self, x):
        full = functional.pad(x, (0, 0, 8 - x.shape[1], 0))
        places = torch.arange(8.0, dtype=x.dtype)[:, None]
        return (full + places)[:, 8 - x.shape[1] :]


class _Remembering(Plain):
    """Keeps its state from call to call."""

    def body(self, x):
        self.state = getattr(self, "state", 0) + x.mean().item()
        return x + self.state


class _Reentrant(_Checkpointed):
    reentrant = True


class _NanoGpt(Plain):
    """Gives only what is needed to go on writing, unless it is told the targets."""

    def forward(self, ids, targets=None):
        x = self.body(self.emb(ids))
        if targets is None:
            return self.out(x[:, [-1], :]), None
        logits = self.out(x)
        return logits, functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


class _Lazy(Plain):
    def __init__(self):
        super().__init__()
        self.out = nn.LazyLinear(VOCABULARY)


class _Failing(Plain):
    def forward(self, ids, mask):
        return super().forward(ids) + mask


def _of_nan():
    model = Plain()
    with torch.no_grad():
        model.blocks[1].weight[0, 0] = float("nan")
    return model


def _of_meta():
    return Plain().to("meta")


NOT_CAUSAL = "is not a causal language model: a token's output changes with the tokens to its right"
OTHERS = "change with the other sequences of the batch"
SHAPE = "change with the shape of the batch"
AGAIN = "other logits when it is asked the same a second time"
ONE = r"logits of one position only.*forward=lambda ids: model\(ids, ids\)\[0\]"
NONE = "no logits for each token"
SEVERAL = r"several tensors with a row for each token .*not said which holds the logits"
REAL = "no real numbers"

REFUSED = {
    "bidirectional": (_Bidirectional, NOT_CAUSAL),
    "encoder": (_Encoder, NOT_CAUSAL),
    "chunks": (_Chunked, NOT_CAUSAL),
    "centred convolution": (_CentredConvolution, NOT_CAUSAL),
    "future mean": (_changing(lambda m, y, ids: y + y.mean(1, keepdim=True)), NOT_CAUSAL),
    "reversed": (_changing(lambda m, y, ids: y.flip(1)), NOT_CAUSAL),
    "batch statistics": (_BatchStatistics, OTHERS),
    "mean of the batch": (_changing(lambda m, y, ids: y + y.mean(0, keepdim=True)), OTHERS),
    "rows rolled": (_changing(lambda m, y, ids: y.roll(1, 0)), OTHERS),
    "tokens side by side": (
        _changing(lambda m, y, ids: y.transpose(0, 1).reshape(-1, VOCABULARY)),
        OTHERS,
    ),
    "length": (_changing(lambda m, y, ids: y / ids.shape[1]), SHAPE),
    "size of the batch": (_changing(lambda m, y, ids: y * len(ids)), SHAPE),
    "positions from the end": (_FromTheEnd, SHAPE),
    "padded inside": (_PaddedInside, SHAPE),
    "dropout": (
        _changing(lambda m, y, ids: functional.dropout(y, 0.1, training=True)),
        AGAIN,
    ),
    "noise": (_changing(lambda m, y, ids: y + torch.randn_like(y)), AGAIN),
    "own noise": (
        _changing(lambda m, y, ids: y + torch.randn(1, generator=m.extra), torch.Generator),
        AGAIN,
    ),
    "memory": (_Remembering, AGAIN),
    "last position": (_changing(lambda m, y, ids: y[:, -1]), ONE),
    "last position kept": (_changing(lambda m, y, ids: y[:, [-1]]), ONE),
    "nanoGPT": (_NanoGpt, ONE),
    "two tensors": (_changing(lambda m, y, ids: (y, 2 * y)), SEVERAL),
    "two in a dict": (_changing(lambda m, y, ids: {"a": y, "b": y}), SEVERAL),
    "a loss": (_changing(lambda m, y, ids: y.mean()), NONE),
    "a list of rows": (_changing(lambda m, y, ids: list(y)), NONE),
    "squeezed": (_changing(lambda m, y, ids: y.squeeze()), r"\[5, 21\] for 1 of 5: no logits"),
    "without the last": (_changing(lambda m, y, ids: y[:, :-1]), NONE),
    "nothing": (_changing(lambda m, y, ids: None), REAL),
    "text": (_changing(lambda m, y, ids: "logits"), REAL),
    "tokens": (_changing(lambda m, y, ids: y.argmax(-1)), REAL),
    "complex": (_changing(lambda m, y, ids: y.to(torch.complex64)), REAL),
    "probabilities": (_changing(lambda m, y, ids: y.softmax(-1)), "probabilities, not logits"),
    "NaN": (_of_nan, r"not finite .* The first such module is blocks\.1"),
    "infinite": (_changing(lambda m, y, ids: y / 0), "not finite .* Look for NaN"),
    "reentrant": (_Reentrant, "uses checkpoint with use_reentrant=True.*numbers are the same"),
    "lazy": (_Lazy, r"out\.weight of .* has no shape yet: call the model once"),
    "meta": (_of_meta, r"emb\.weight of .* is on the meta device"),
    "an argument is missing": (_Failing, r"failed: TypeError: .*'mask'.*Give forward="),
    "few positions": (
        _changing(lambda m, y, ids: y + m.extra(ids * 0 + 4), lambda: nn.Embedding(2, VOCABULARY)),
        r"token ids of shape \[3, 7\] failed: IndexError",
    ),
}
"""How to make a model that must be refused, and what is said of it."""


class _Shared(Plain):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([self.blocks[0]] * 3)


class _Recurrent(Plain):
    def body(self, x):
        for _ in range(4):
            x = x + torch.tanh(self.blocks[0](x))
        return x


class _Cell(Plain):
    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(WIDTH, WIDTH)

    def body(self, x):
        state, states = x[:, 0] * 0, []
        for position in range(x.shape[1]):
            state = self.cell(x[:, position], state)
            states.append(state)
        return torch.stack(states, dim=1)


class _ByForward(Plain):
    def body(self, x):
        return x + self.blocks[0].forward(x)


class _TwoStreams(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(WIDTH, WIDTH)

    def forward(self, x, residual):
        residual = residual + x
        return self.inner(residual), residual


class _Both(Plain):
    """Like Mamba's fused blocks: stream and residual are handed on side by side."""

    def __init__(self):
        super().__init__()
        self.pairs = nn.ModuleList(_TwoStreams() for _ in range(2))

    def body(self, x):
        residual = x
        for pair in self.pairs:
            x, residual = pair(x, residual)
        return x + residual


class _WithoutGrad(Plain):
    def body(self, x):
        with torch.no_grad():
            y = self.blocks[0](x)
        return x + self.blocks[1](y)


class _LooksAhead(Plain):
    """A module sees all tokens, and its output is not used for anything."""

    def __init__(self):
        super().__init__()
        self.mean = nn.Identity()

    def body(self, x):
        self.mean(x + x.mean(dim=1, keepdim=True))
        return super().body(x)


class _Weights(nn.Module):
    def forward(self, x):
        scores = x @ x.transpose(1, 2)
        return torch.softmax(scores + torch.full_like(scores, float("-inf")).triu(1), dim=-1)


class _OnlyWeights(Plain):
    def __init__(self):
        super().__init__()
        self.weights = _Weights()

    def body(self, x):
        return x + self.weights(x) @ x


class _Scripted(Plain):
    def __init__(self):
        super().__init__()
        self.blocks[0] = torch.jit.script(self.blocks[0])


class _Nothing(nn.Module):
    def forward(self, x):
        return {"mean": None, "lengths": [len(x)]}


class _Useless(Plain):
    def __init__(self):
        super().__init__()
        self.nothing = _Nothing()

    def body(self, x):
        self.nothing(x)
        return super().body(x)


REFUSED_SITES = {
    "shared under three paths": (_Shared, "blocks.2", "is used 3 times in one forward pass"),
    "depth recurrence": (_Recurrent, "blocks.0", r"4 times .*nn\.Identity will do"),
    "a cell at each token": (_Cell, "cell", "is used 7 times in one forward pass"),
    "not called": (_Recurrent, "blocks.1", "is not called in each forward pass"),
    "called by its forward": (_ByForward, "blocks.0", "not as a module, by its forward"),
    "positions": (Positions, "positions", r"gives \[7, 8\] numbers .*no row for each token"),
    "too many positions": (TrimmedConvolution, "conv", r"gives \[3, 8, 9\] numbers"),
    "experts": (Experts, "experts.0", "no row for each token"),
    "two streams": (_Both, "pairs.0", r"several tensors with a row for each token \(0, 1\)"),
    "no grad": (_WithoutGrad, "blocks.0", "gradients switched off .*use_reentrant=False"),
    "looks ahead": (_LooksAhead, "mean", "change with later tokens"),
    "attention weights": (_OnlyWeights, "weights", r"gives \[3, 7, 7\] numbers"),
    "script": (_Scripted, "blocks.0", "TorchScript, which takes no hooks"),
    "nothing": (_Useless, "nothing", "gives no tensor of real numbers"),
}
"""How to make a model, one of its modules, and why that cannot be looked at."""
