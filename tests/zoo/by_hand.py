"""Small language models as people write them by hand, with blocks that add to a stream."""

import torch
from torch import nn
from torch.nn import functional

WIDTH, VOCABULARY = 16, 99


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        q, k, v = (part.unflatten(-1, (2, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(attended.transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.LayerNorm(WIDTH), nn.RMSNorm(WIDTH)
        self.attention = Attention()
        self.feed = nn.Sequential(nn.Linear(WIDTH, 24), nn.GELU(), nn.Linear(24, WIDTH))

    def forward(self, x):
        x = x + self.attention(self.one(x))
        return x + 0.5 * self.feed(self.two(x))


class ByHand(nn.Module):
    """A language model of two plain blocks."""

    kind = Block
    longest = 64

    def __init__(self):
        super().__init__()
        self.words, self.places = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(self.longest, WIDTH)
        self.blocks = nn.ModuleList(self.kind() for _ in range(2))
        self.norm, self.out = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCABULARY)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.4)

    def forward(self, ids):
        x = self.words(ids) + self.places(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.out(self.norm(x))


class Short(ByHand):
    longest = 9


class Turned(ByHand):
    """The same with positions first between the blocks."""

    class kind(Block):  # noqa: N801
        def forward(self, x):
            return super().forward(x.transpose(0, 1)).transpose(0, 1)

    def forward(self, ids):
        x = self.words(ids) + self.places(torch.arange(ids.shape[1]))
        x = x.transpose(0, 1)
        for block in self.blocks:
            x = block(x)
        return self.out(self.norm(x.transpose(0, 1)))


class Summed(ByHand):
    """Attention and MLP read the stream side by side, and one norm takes their sum."""

    class kind(Block):  # noqa: N801
        def forward(self, x):
            normed = self.one(x)
            return x + self.two(self.attention(normed) + self.feed(normed))


class Chained(ByHand):
    """The MLP reads what attention gives, and only its own output is added."""

    class kind(Block):  # noqa: N801
        def forward(self, x):
            return x + self.feed(self.attention(self.one(x)))


class MixedInOne(ByHand):
    """The MLP goes first, and one dropout takes its sum with attention."""

    class kind(Block):  # noqa: N801
        def __init__(self):
            super().__init__()
            self.drop = nn.Dropout(0.1)

        def forward(self, x):
            normed = self.one(x)
            return x + self.drop(self.feed(normed) + self.attention(normed))


class AttentionAlone(ByHand):
    """Blocks of attention without an MLP, projected by a module beside it."""

    class kind(Block):  # noqa: N801
        def __init__(self):
            super().__init__()
            del self.feed
            self.project = nn.Linear(WIDTH, WIDTH)

        def forward(self, x):
            return x + self.two(self.project(self.attention(self.one(x))))


class AttentionInPlace(AttentionAlone):
    """The same with the projections of attention in the block itself."""

    class kind(Block):  # noqa: N801
        def __init__(self):
            super().__init__()
            del self.feed, self.two
            self.q, self.k, self.v = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
            self.project = nn.Linear(WIDTH, WIDTH)

        def forward(self, x):
            normed = self.one(x)
            parts = (each(normed) for each in (self.q, self.k, self.v))
            q, k, v = (part.unflatten(-1, (2, -1)).transpose(1, 2) for part in parts)
            attended = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            return x + self.project(attended.transpose(1, 2).flatten(2))


class Looped(ByHand):
    def forward(self, ids):
        x = self.words(ids)
        for _ in range(3):
            for block in self.blocks:
                x = block(x)
        return self.out(self.norm(x))


class Permuted(ByHand):
    """Between two blocks the stream changes places."""

    def forward(self, ids):
        x = self.words(ids) + self.places(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x).roll(1, -1)
        return self.out(self.norm(x))


class PermutedWithin(ByHand):
    """The first half of each block adds to another order of the stream than it is given."""

    class kind(Block):  # noqa: N801
        def forward(self, x):
            return super().forward(x.roll(1, -1))


class Counting(ByHand):
    """Cannot read more than eight tokens, which is nowhere written."""

    def forward(self, ids):
        if ids.shape[1] > 8:
            raise ValueError("at most 8 tokens")
        return super().forward(ids)


class Remembering(ByHand):
    """The second block reads what the first has written down."""

    class kind(Block):  # noqa: N801
        others = ()

        def forward(self, x):
            x = super().forward(x)
            for other in self.others:
                x = x + 0.1 * other.kept.cumsum(1)
            self.kept = x
            return x

    def forward(self, ids):
        self.blocks[1].others = (self.blocks[0],)
        return super().forward(ids)
