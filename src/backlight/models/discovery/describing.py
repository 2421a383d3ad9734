"""From what adds up in a block to what it is: sums, their norms, and where they read."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from backlight.models.discovery.inside import Inside, Same
from backlight.models.discovery.observing import Passing
from backlight.models.discovery.solving import Chain, Step
from backlight.models.discovery.wiring import Addition, Layer, Mixing, Term
from backlight.models.sites import Tap
from backlight.models.wiring.norm_form import NormForm


@dataclass(frozen=True, slots=True, kw_only=True)
class Describing:
    """One block, with what is known of the whole model.

    Attributes:
        block: What passed in it.
        norms: The norms of the model, by their paths.
        mixing: What mixes tokens, by the path of what is added.
        attended: When attention was computed, in the whole model.
        matrices: The modules that have a matrix of their own.
    """

    block: Inside
    norms: Mapping[str, NormForm]
    mixing: Mapping[str, Mixing]
    attended: Sequence[int]
    matrices: Collection[str]

    def layer(self, path: str, chain: Chain) -> Layer:
        """Describe the block.

        Args:
            path: The path of its module.
            chain: How it adds up.

        Returns:
            Its description.
        """
        return Layer(
            block=path,
            pre=self.block.pre.given[0].tap,
            start=chain[0].before.norm,
            additions=tuple(self._addition(step) for step in chain),
        )

    def _addition(self, step: Step) -> Addition:
        after = step.after
        coefficients = dict(zip(step.terms, step.fit.coefficients, strict=True))
        ordered = sorted(step.terms, key=lambda term: term.outermost.place)
        return Addition(
            terms=tuple(self._term(step, term, coefficients[term]) for term in ordered),
            kept=step.fit.kept,
            sum=self._stream(after.total),
            stream=self._stream(after.stream),
            norm=after.norm,
        )

    @staticmethod
    def _stream(same: Same) -> Tap:
        """Choose where a stream passes: out of a module, or, if none gives it, into one."""
        return (same.outermost if same.gave else _outermost(same.given)).tap

    def _term(self, step: Step, term: Same, coefficient: float | None) -> Term:
        added = term.outermost
        post_norm = self.norms.get(added.tap.module)
        out = added.tap if post_norm is None else self._before(added)
        norm, read = self._read(step, out)
        is_alone, readers = len(step.terms) == 1, self._readers(read)
        mixes = self.mixing[added.tap.module]
        return Term(
            out=out,
            added=added.tap,
            multiplier=coefficient,
            mixes=mixes,
            norm=norm,
            post_norm=post_norm,
            entry=_entry(readers, out, is_alone=is_alone),
            is_of_several=is_alone
            and mixes == "attention"
            and self._is_of_several(readers, out, added.place),
        )

    def _readers(self, read: Same) -> list[Passing]:
        return [passing for passing in read.given if passing not in self.block.pre.given[:1]]

    def _is_of_several(self, readers: Sequence[Passing], out: Tap, end: int) -> bool:
        """Find out whether more than attention and one projection behind it is in a term."""
        if any(_holds(reader.tap.module, out.module) for reader in readers):
            return False  # one module reads the stream and gives all of it
        attended = max(p for p in self.attended if self.block.pre.given[0].place <= p < end)
        ends = {p.tap.module: p.place for same in self.block.all for p in same.gave}
        outermost = _without_inner(readers)
        attending = [r for r in outermost if r.place < attended < ends.get(r.tap.module, 0)]
        behind = {
            p.tap.module
            for same in self.block.all
            for p in (*same.given, *same.gave)
            if attended < p.place <= end
            and p.tap.module in self.matrices
            and not any(_holds(each.tap.module, p.tap.module) for each in attending)
        }
        return len(behind) > 1 or 0 < len(attending) < len(outermost)

    def _before(self, norm: Passing) -> Tap:
        given = next(s for s in self.block.all if any(_is_of(p, norm) for p in s.given))
        return given.outermost.tap if given.gave else replace(norm.tap, side="input", member=None)

    def _read(self, step: Step, out: Tap) -> tuple[NormForm | None, Same]:
        """Find the norm through which a term reads the stream, and what it reads."""
        stream = step.before.stream
        normed = [
            (self.norms[passing.tap.module], same)
            for passing in stream.given
            for same in self.block.all
            if passing.tap.module in self.norms
            and any(_is_of(p, passing) for p in same.gave)
            # Not the norm of the sum itself, in a post-norm block.
            and not (step.after.norm and passing.tap.module == step.after.norm.module)
        ]
        if len(normed) > 1:
            normed = [
                (norm, same)
                for norm, same in normed
                if any(_holds(given.tap.module, out.module) for given in same.given)
            ]
        return normed[0] if len(normed) == 1 else (None, stream)


def _entry(readers: Sequence[Passing], out: Tap, *, is_alone: bool) -> Tap | None:
    """Find where a term begins: the module that gives it, one around that, or the only."""
    around = [reader.tap for reader in readers if _holds(reader.tap.module, out.module)]
    if around:
        return replace(min(around, key=lambda tap: len(tap.module)), side="branch")
    alone = _without_inner(readers) if is_alone else []
    return replace(alone[0].tap, side="branch") if len(alone) == 1 else None


def _without_inner(readers: Sequence[Passing]) -> list[Passing]:
    """Leave out the modules that are inside of others."""
    paths = [reader.tap.module for reader in readers]
    return [
        reader
        for reader in readers
        if not any(path != reader.tap.module and _holds(path, reader.tap.module) for path in paths)
    ]


def _holds(outer: str, inner: str) -> bool:
    return inner == outer or inner.startswith(f"{outer}.")


def _is_of(passing: Passing, other: Passing) -> bool:
    return passing.tap.module == other.tap.module


def _outermost(passings: Sequence[Passing]) -> Passing:
    return min(passings, key=lambda passing: (passing.depth, passing.place))
