"""One form for every dictionary: what encodes, the rows that decode, and where it belongs."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from backlight.dictionaries.activations import Activation
from backlight.dictionaries.codes import Codes, concatenate
from backlight.dictionaries.normalization import Normalization, normalized, scale_of, shift_of

CROSS_LAYER = "cross-layer transcoder"
"""The architecture of a card whose features write at their own layer and at all later ones."""

_BLOCK_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What a dictionary's files say of it; None where they are silent.

    Attributes:
        format: The format it was read from, such as ``SAELens``.
        path: Where it was read.
        architecture: What its authors call its kind, such as ``jumprelu``.
        reads: The site whose tensor it encodes, as written there, in any dialect of names.
        writes: The site whose tensor it reconstructs; the same as ``reads`` for an autoencoder. A
            cross-layer transcoder also writes to the same site of all later layers.
        layer: The layer it belongs to.
        model: The model it was trained on.
        neuronpedia: Its id on Neuronpedia, ``{model}/{source}``.
    """

    format: str
    path: str
    architecture: str
    reads: str | None = None
    writes: str | None = None
    layer: int | None = None
    model: str | None = None
    neuronpedia: str | None = None

    @property
    def is_cross_layer(self) -> bool:
        """Its features write at their own layer and at all later ones."""
        return self.architecture == CROSS_LAYER


class Encoder(ABC):
    """What computes the features of some tokens."""

    @abstractmethod
    def __call__(self, x: Float[Tensor, "tokens width"]) -> Float[Tensor, "tokens features"]:
        """Compute all features of each token, the zeros too.

        Args:
            x: Activations, already normalised.

        Returns:
            The features.
        """

    @property
    @abstractmethod
    def width(self) -> int | None:
        """How many numbers it takes for a token; None if that is known to its own code alone."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LinearEncoder(Encoder):
    """One matrix, a bias, and an activation function.

    Attributes:
        rows: What each feature looks for.
        bias: Added to the product with the input.
        input_bias: Subtracted from the input first; None for nothing.
        activation: From pre-activations to features.
    """

    rows: Float[Tensor, "features width"]
    bias: Float[Tensor, " features"]
    input_bias: Float[Tensor, " width"] | None
    activation: Activation

    def __call__(self, x: Float[Tensor, "tokens width"]) -> Float[Tensor, "tokens features"]:
        """See ``Encoder``."""
        if self.input_bias is not None:
            x = x - self.input_bias
        return self.activation(torch.nn.functional.linear(x, self.rows, self.bias))

    @property
    def width(self) -> int:
        """See ``Encoder``."""
        return self.rows.shape[1]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignEncoder(Encoder):
    """Another library's own encoder.

    Attributes:
        encode: From activations to features.
    """

    encode: Callable[[Tensor], Tensor]

    def __call__(self, x: Float[Tensor, "tokens width"]) -> Float[Tensor, "tokens features"]:
        """See ``Encoder``."""
        return self.encode(x)

    @property
    def width(self) -> None:
        """See ``Encoder``."""
        return None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class NormalizedEncoder(Encoder):
    """An encoder that normalises each token first, where decoding does not undo it (transcoders).

    Attributes:
        encoder: What encodes the normalised tokens.
        normalization: What is done to each token.
    """

    encoder: Encoder
    normalization: Normalization

    def __call__(self, x: Float[Tensor, "tokens width"]) -> Float[Tensor, "tokens features"]:
        """See ``Encoder``."""
        return self.encoder(normalized(self.normalization, x))

    @property
    def width(self) -> int | None:
        """See ``Encoder``."""
        return self.encoder.width


@dataclass(frozen=True, slots=True, kw_only=True)
class Dictionary:
    """An autoencoder or transcoder with a linear decoder.

    ``reconstruction = (features @ rows + bias) * scale + shift + skip @ x``, where scale and shift
    undo the normalisation of each token (1 and 0 without).

    A layer of a cross-layer transcoder writes to the sites of several layers: its output is theirs
    side by side, the own layer first. What is reconstructed at a site is the sum of what all layers
    up to it write there, so a site's bias stands in its own layer's dictionary alone.

    Attributes:
        encoder: Computes the features.
        rows: What each feature adds to the reconstruction: the decoder's rows.
        bias: What the reconstruction is where no feature fires.
        skip: A transcoder's linear path around the features, or None.
        normalization: What is done to each token before it is encoded.
        card: What its files say of it.

    Examples:
        >>> import torch
        >>> from backlight import Dictionary
        >>> from backlight.dictionaries.activations import Relu
        >>> from backlight.dictionaries.dictionary import Card, LinearEncoder
        >>> rows = torch.eye(4, 3)
        >>> encoder = LinearEncoder(
        ...     rows=rows, bias=torch.zeros(4), input_bias=None, activation=Relu()
        ... )
        >>> card = Card(format="made up", path="memory", architecture="relu")
        >>> dictionary = Dictionary(encoder=encoder, rows=rows, bias=torch.zeros(3), card=card)
        >>> x = torch.tensor([[1.0, -2.0, 0.0], [0.0, 3.0, 5.0]])
        >>> codes = dictionary.encode(x)
        >>> codes.features.tolist(), codes.values.tolist()
        ([0, 1, 2], [1.0, 3.0, 5.0])
        >>> dictionary.decode(codes, x)
        tensor([[1., 0., 0.],
                [0., 3., 5.]])
    """

    encoder: Encoder
    rows: Float[Tensor, "features output_width"]
    bias: Float[Tensor, " output_width"]
    skip: Float[Tensor, "output_width input_width"] | None = None
    normalization: Normalization = "none"
    card: Card

    @property
    def num_features(self) -> int:
        """How many features it has."""
        return self.rows.shape[0]

    def encode(self, x: Float[Tensor, "tokens width"]) -> Codes:
        """Compute the features of some tokens; never holds more than a block of them densely.

        Args:
            x: Activations at the site it reads.

        Returns:
            What fires where.
        """
        size = max(1, _BLOCK_BYTES // (self.num_features * x.element_size()))
        blocks = normalized(self.normalization, x).split(size)
        return concatenate([Codes.of(self.encoder(block)) for block in blocks])

    def decode(
        self, codes: Codes, x: Float[Tensor, "tokens width"]
    ) -> Float[Tensor, "tokens output_width"]:
        """Reconstruct some tokens from their features.

        Args:
            codes: Their features.
            x: The activations that were encoded, whose normalisation is undone.

        Returns:
            The reconstruction at the site it writes.
        """
        kind = self.normalization
        output = (codes.times(self.rows) + self.bias) * scale_of(kind, x) + shift_of(kind, x)
        return output if self.skip is None else output + x @ self.skip.T
