"""The canonical sites of a model, read off what was found of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from backlight.models.discovery.wiring import Addition, Discovery, Layer, Term
from backlight.models.sites import Site, Tap
from backlight.models.wiring.norm_form import NormForm

_KINDS = ("resid.pre", "attn.out", "attn.contribution", "mlp.out", "mlp.contribution", "resid.post")


def sites_of(found: Discovery) -> Iterator[Site]:
    """List the sites of a model, in the order in which their tensors pass.

    Args:
        found: What was found of it.

    Yields:
        ``embed.out``, those of each layer, those of the final norm. What could not be proven is
        there with the reason as its problem.
    """
    yield Site(name="embed.out", tap=found.entry(found.blocks[0]), width=found.width)
    is_hybrid = any(
        term.mixes in ("convolution", "recurrence")
        for layer in found.layers
        if isinstance(layer, Layer)
        for addition in layer.additions
        for term in addition.terms
    )
    for number, layer in enumerate(found.layers):
        if isinstance(layer, Layer):
            yield from _LayerSites(found.width, number, layer, is_hybrid=is_hybrid).in_order()
        else:
            yield from _refused(found, number, layer)
    if found.final_norm is not None:
        norm = found.final_norm
        yield Site(name="final_norm.in", tap=norm.entry, width=found.width)
        yield Site(
            name="final_norm.out",
            tap=norm.out,
            width=found.width,
            transformers=norm.module,
        )


def _refused(found: Discovery, number: int, reason: str) -> Iterator[Site]:
    """List the sites of a layer whose wiring was not found: its ends are known all the same."""
    block = found.blocks[number]
    for kind in _KINDS:
        entry = found.entry(block)
        yield Site(
            name=f"layers.{number}.{kind}",
            tap=entry if kind == "resid.pre" else replace(entry, side="output"),
            width=found.width,
            transformers=block if kind == "resid.post" else None,
            problem=None if kind.startswith("resid") else _problem(number, kind, reason),
        )


def _problem(number: int, kind: str, reason: str) -> str:
    return (
        f"layers.{number}.{kind} is not known: {reason}. Its modules can be named by their paths."
    )


@dataclass(frozen=True, slots=True)
class _LayerSites:
    """The sites of one layer."""

    width: int
    number: int
    layer: Layer
    is_hybrid: bool

    def in_order(self) -> Iterator[Site]:
        """List them in the order in which their tensors pass."""
        layer = self.layer
        yield self._site("resid.pre", layer.pre, lens="hook_resid_pre")
        mixers = [t for a in layer.additions for t in a.terms if t.mixes != "none"]
        alone = [a for a in layer.additions if any(t.mixes == "none" for t in a.terms)]
        for place, addition in enumerate(layer.additions):
            yield from self._addition(addition, mixers, alone)
            is_last = place == len(layer.additions) - 1
            if place == 0 and not is_last:
                yield from self._behind("norm1", addition)
                yield self._site("resid.mid", addition.stream, lens="hook_resid_mid")
            elif is_last:
                yield from self._behind("norm2", addition)
            if is_last:
                yield self._site("resid.post", addition.stream, lens="hook_resid_post")

    def _addition(
        self, addition: Addition, mixers: Sequence[Term], alone: Sequence[Addition]
    ) -> Iterator[Site]:
        if not alone and len(mixers) == 1 and mixers[0].is_of_several:
            yield from self._of_several(mixers[0])
            return
        for term in addition.terms:
            if term.mixes != "none":
                yield from self._mixer(term, mixers)
        singles = [term for term in addition.terms if term.mixes == "none"]
        if not alone or addition is not alone[0]:
            return
        if len(singles) == 1:
            shared = {t.norm for t in addition.terms if t is not singles[0]}
            yield from self._half("mlp", singles[0], "norm2", skip_norm=singles[0].norm in shared)
        else:
            parts = " + ".join(term.out.module for term in singles)
            yield from self._not_one(
                "mlp", singles[0], f"it is the sum of several modules: {parts}"
            )

    def _mixer(self, term: Term, mixers: Sequence[Term]) -> Iterator[Site]:
        names = ["attn"] if term.mixes == "attention" else []
        names += ["mixer"] if self.is_hybrid else []
        rivals = [other for other in mixers if other is not term]
        for name in names:
            if name == "attn" and all(other.mixes != "attention" for other in rivals):
                yield from self._half("attn", term, "norm1", skip_norm=False)
            elif not rivals:
                yield from self._half("mixer", term, "norm1", skip_norm="attn" in names)
            elif term is mixers[0]:
                parts = ", ".join(other.out.module for other in mixers)
                yield from self._not_one(name, term, f"several modules mix tokens: {parts}")

    def _half(self, half: str, term: Term, norm: str, *, skip_norm: bool) -> Iterator[Site]:
        if term.norm is not None and not skip_norm:
            yield from self._norm(norm, term.norm)
        if term.entry is not None:
            yield self._site(f"{half}.in", term.entry)
        is_added = term.out == term.added and term.multiplier == 1.0
        lens = None if half == "mixer" else f"hook_{half}_out"
        yield self._site(f"{half}.out", term.out, lens=lens if is_added else None)
        if term.post_norm is not None and not skip_norm:
            yield from self._norm(f"{norm}_post", term.post_norm)
        kind = f"{half}.contribution"
        if term.multiplier is None:
            reason = f"{term.added.module} is added with a number of its own for each channel"
            yield self._site(kind, term.added, problem=_problem(self.number, kind, reason))
            return
        tap = replace(term.added, multiplier=term.multiplier)
        yield self._site(kind, tap, lens=None if is_added else lens)

    def _of_several(self, term: Term) -> Iterator[Site]:
        """List what is known of a sum or a chain in which attention is only one part."""
        reason = (
            f"what {self.layer.block} adds, at {term.added.module}, comes from several modules, "
            "attention among them"
        )
        if term.norm is not None:
            yield from self._norm("norm1", term.norm)
        for half in ("attn", "mlp"):
            yield from self._not_one(half, term, reason)
        if term.post_norm is not None:
            yield from self._norm("norm1_post", term.post_norm)

    def _not_one(self, half: str, term: Term, reason: str) -> Iterator[Site]:
        for kind in (f"{half}.out", f"{half}.contribution"):
            yield self._site(kind, term.out, problem=_problem(self.number, kind, reason))

    def _behind(self, name: str, addition: Addition) -> Iterator[Site]:
        if addition.norm is not None:
            yield from self._norm(name, addition.norm)

    def _norm(self, name: str, form: NormForm) -> Iterator[Site]:
        yield self._site(f"{name}.in", form.entry)
        yield self._site(f"{name}.out", form.out)

    def _site(
        self, kind: str, tap: Tap, *, lens: str | None = None, problem: str | None = None
    ) -> Site:
        is_module = tap.side == "output" and tap.multiplier == 1.0 and problem is None
        return Site(
            name=f"layers.{self.number}.{kind}",
            tap=tap,
            width=self.width,
            transformers=tap.module if is_module else None,
            transformer_lens=None if lens is None else f"blocks.{self.number}.{lens}",
            problem=problem,
        )
