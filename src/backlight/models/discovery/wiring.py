"""What arithmetic has found of a model, as plain data."""

from dataclasses import dataclass
from typing import Literal

from backlight.models.sites import Tap
from backlight.models.wiring.families import Wiring
from backlight.models.wiring.norm_form import NormForm

Mixing = Literal["attention", "convolution", "recurrence", "none"]
"""What lets a token see those before it. ``recurrence`` is linear attention or a state space: which
of the two, arithmetic cannot tell, as each can be written as the other (Dao and Gu, 2024)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """Something that a block adds to the stream.

    Attributes:
        out: Where what was computed passes.
        added: Where that passes behind its post-norm, ``out`` where it has none.
        multiplier: The stream gains this times ``added``; None if each channel has its own number.
        mixes: What lets a token see those before it.
        norm: The norm of the stream that it reads, None if it has none.
        post_norm: The norm between ``out`` and ``added``, None if there is none.
        entry: Where it begins to read; None if that is not one module.
        is_of_several: Whether attention is only one part of what was computed: another module reads
            the stream beside it, or an MLP reads what it gives.
    """

    out: Tap
    added: Tap
    multiplier: float | None
    mixes: Mixing
    norm: NormForm | None = None
    post_norm: NormForm | None = None
    entry: Tap | None = None
    is_of_several: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """One sum in a block: ``sum = kept * stream + multiplier * added + ...``.

    Attributes:
        terms: What is added, in the order in which it passes.
        kept: What the stream is multiplied by before; None if each channel has its own number.
        sum: Where the sum passes, before the norm that may follow.
        stream: Where the stream goes on from the sum, behind that norm.
        norm: The norm between the two (post-norm wiring), None if there is none.
    """

    terms: tuple[Term, ...]
    kept: float | None
    sum: Tap
    stream: Tap
    norm: NormForm | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """How one block is wired.

    Attributes:
        block: The path of its module.
        pre: Where the stream enters it.
        start: The norm through which the stream itself goes first, None in almost all models.
        additions: What becomes of the stream in it, one sum after the other.
        is_closed: All that is read of the stream passes the norms or the entries of the terms, and
            all that is read of these norms passes the entries; so gradients can be told apart.
    """

    block: str
    pre: Tap
    start: NormForm | None
    additions: tuple[Addition, ...]
    is_closed: bool = False

    @property
    def norms(self) -> list[NormForm]:
        """All its norms of the stream, some perhaps twice."""
        terms = [term for addition in self.additions for term in addition.terms]
        found = (
            self.start,
            *(addition.norm for addition in self.additions),
            *(term.norm for term in terms),
            *(term.post_norm for term in terms),
        )
        return [norm for norm in found if norm is not None]

    @property
    def wiring(self) -> Wiring | None:
        """The name of this wiring; None if it has another form."""
        num_terms = [len(addition.terms) for addition in self.additions]
        is_post_norm = [addition.norm is not None for addition in self.additions]
        if self.start is not None or any(addition.kept != 1.0 for addition in self.additions):
            return None
        if num_terms == [2] and not any(is_post_norm):
            return "parallel"
        if num_terms == [1, 1] and len(set(is_post_norm)) == 1:
            return "post_norm" if all(is_post_norm) else "sequential"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadForm:
    """How the logits come from the last hidden state: ``cap tanh(scale (W h + b) / cap)``.

    Attributes:
        module: The path of the linear map.
        trunk: The outermost module that gives the hidden state, and does not hold the map.
        scale: What the map's output is multiplied by.
        cap: The soft cap, None without.
    """

    module: str
    trunk: Tap
    scale: float
    cap: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """How a model is wired.

    Attributes:
        width: How many numbers a token has in the stream.
        blocks: The paths of its blocks, in their order.
        layers: How each of them is wired, or a sentence that says why that is not known.
        final_norm: The norm behind the last block, None if none was proven.
        head: How the logits are made, None if that was not found.
        axes: Which axes of the stream between blocks are batch and positions.
    """

    width: int
    blocks: tuple[str, ...]
    layers: tuple[Layer | str, ...]
    final_norm: NormForm | None = None
    head: HeadForm | None = None
    axes: tuple[int, int] = (0, 1)

    @property
    def norms(self) -> dict[str, NormForm]:
        """All norms of the stream that were proven, by their paths."""
        layers = [layer for layer in self.layers if isinstance(layer, Layer)]
        found = [norm for layer in layers for norm in layer.norms]
        found += [] if self.final_norm is None else [self.final_norm]
        return {norm.module: norm for norm in found}

    def entry(self, block: str) -> Tap:
        """Say where the stream enters a block."""
        return Tap(module=block, side="input", axes=self.axes)
