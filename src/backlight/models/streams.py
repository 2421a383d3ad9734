"""Which residual stream a site's tensor is added to, and what lies between: the way of a change.

A residual stream is a sum, so a change of one term is a change of the stream. Between a site and
its stream there can be attention's output projection, a post-norm (Gemma-2, Gemma-3, OLMo-2) and a
residual multiplier (Granite). All of it is linear but for the scale ``1 / sqrt(mean x^2 + eps)`` of
the post-norm, which is one number for each token and is held as it was.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from jaxtyping import Float
from torch import Tensor, nn

from backlight.models.norms import NormPlace, norm_places
from backlight.models.passing_blocks import PassingBlocks
from backlight.models.sites import Site, kind_of, layer_of
from backlight.models.subject import Subject

_STREAMS = ("resid.pre", "resid.mid", "resid.post")
_HALVES: Mapping[str, str] = {
    **dict.fromkeys(("attn.z", "attn.out", "attn.contribution", "norm1_post.out"), "attn"),
    **dict.fromkeys(("mlp.out", "mlp.contribution", "norm2_post.out"), "mlp"),
}
_POST_NORMS = {"attn": "norm1_post", "mlp": "norm2_post"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a change of a site's tensor becomes a change of the residual stream.

    Attributes:
        site: Where the change is made.
        stream: The stream behind the addition; the site itself where the site is the stream.
        projection: Reads the output projection between them, ``[width, site_width]``; None without.
        norm: The post-norm between them, an RMS norm; None without.
        multiplier: What the term is multiplied by before it is added.
    """

    site: Site
    stream: Site
    projection: Callable[[], Tensor] | None = None
    norm: NormPlace | None = None
    multiplier: float = 1.0

    @property
    def needed(self) -> tuple[Site, ...]:
        """Of which sites each token's length must be known: the stream, and what a norm reads."""
        return (self.stream,) if self.norm is None else (self.stream, self.norm.entry)

    def through(
        self, change: Float[Tensor, "*tokens site_width"]
    ) -> Float[Tensor, "*tokens width"]:
        """Carry a change of the site to the stream; a post-norm's scale is left to ``scale``."""
        if self.projection is not None:
            change = change @ self.projection().to(change.dtype).T
        if self.norm is not None and self.norm.gain is not None:
            change = change * self.norm.gain.to(change.dtype)
        return change if self.multiplier == 1.0 else change * self.multiplier

    def scale(
        self, entry_norms: Float[Tensor, "batch positions"]
    ) -> Float[Tensor, "batch positions"]:
        """Compute what a post-norm multiplies each token by, from the lengths of what it reads."""
        assert self.norm is not None, "there is no norm on the way"
        return (entry_norms.square() / self.norm.width + self.norm.eps).rsqrt()


def stream_of(subject: Subject, site: Site) -> Way | str:
    """Find the residual stream that a site's tensor is added to, and what lies between.

    >>> import backlight
    >>> subject = backlight.load_subject("smollm2")  # doctest: +SKIP
    >>> stream_of(subject, subject.sites["layers.1.attn.z"]).stream.name  # doctest: +SKIP
    'layers.1.resid.mid'
    >>> stream_of(subject, subject.sites["layers.1.norm1.out"])  # doctest: +SKIP
    'layers.1.norm1.out is not a term of the residual stream'

    Args:
        subject: The model.
        site: One of its sites: attention's ``z``, the outputs and contributions of attention and
            MLP, the outputs of post-norms, the stream itself and the embedding.

    Returns:
        The way; or, in words, why it is not known.
    """
    kind, layer = kind_of(site.name), layer_of(site.name)
    if site.name == "embed.out" or (kind in _STREAMS and subject.wiring is not None):
        return Way(site=site, stream=site)
    if subject.wiring is None:
        return f"it is not known how the blocks of {subject.name} are wired"
    half = _HALVES.get(kind)
    if half is None or layer is None:
        return f"{site.name} is not a term of the residual stream"
    return _of_half(subject, site, half, layer)


def _of_half(subject: Subject, site: Site, half: str, layer: int) -> Way | str:
    kind = kind_of(site.name)
    norm = None
    if kind in ("attn.z", f"{half}.out"):
        norm = _post_norm(subject, layer, _POST_NORMS[half])
    if norm is not None and norm.is_centred:
        return f"{norm.out.name} is a layer norm behind the addition's term, which is not followed"
    projection = _projection(subject, site, layer) if kind == "attn.z" else None
    if isinstance(projection, str):
        return projection
    contribution = subject.sites[f"layers.{layer}.{half}.contribution"]
    return Way(
        site=site,
        stream=subject.sites[f"layers.{layer}.{_stream(subject, half)}"],
        projection=projection,
        norm=norm,
        multiplier=1.0 if kind.endswith(".contribution") else contribution.tap.multiplier,
    )


def _stream(subject: Subject, half: str) -> str:
    """Name the sum: where norms follow the additions, what the norm reads is the sum."""
    if subject.wiring == "post_norm":
        return "norm1.in" if half == "attn" else "norm2.in"
    return "resid.mid" if half == "attn" and subject.wiring == "sequential" else "resid.post"


def _post_norm(subject: Subject, layer: int, name: str) -> NormPlace | None:
    if f"layers.{layer}.{name}.out" not in subject.sites:
        return None
    return next(place for place in norm_places(subject, [layer]) if place.name == name)


def _projection(subject: Subject, site: Site, layer: int) -> Callable[[], Tensor] | str:
    """Find what reads the output projection's weights, ``[width, heads x head_width]``."""
    module = subject.model.get_submodule(site.tap.module)
    width = subject.sites["embed.out"].width
    rows = _rows(module)
    if rows is None or rows.shape != (width, site.width):
        return f"the weights of {site.tap.module} ({type(module).__name__}) cannot be read"
    passing = subject.passing
    return (lambda: rows) if passing is None else partial(_held_rows, module, passing, layer)


def _held_rows(module: nn.Module, passing: PassingBlocks, layer: int) -> Tensor:
    """Read the weights of a module whose block is in memory only when it is needed."""
    with passing.holding(layer):
        rows = _rows(module)
    assert rows is not None
    return rows


def _rows(module: nn.Module) -> Tensor | None:
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or not weight.is_floating_point():
        return None
    # GPT-2 keeps its linear maps the other way round.
    return weight.detach().T if type(module).__name__ == "Conv1D" else weight.detach()
