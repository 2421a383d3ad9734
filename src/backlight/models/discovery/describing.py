"""From what adds up in a block to what it is: sums, their norms, and where they read."""

from collections.abc import Mapping, Sequence
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
    """

    block: Inside
    norms: Mapping[str, NormForm]
    mixing: Mapping[str, Mixing]

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
        return Term(
            out=out,
            added=added.tap,
            multiplier=coefficient,
            mixes=self.mixing[added.tap.module],
            norm=norm,
            post_norm=post_norm,
            entry=_entry(self._readers(read), out, is_alone=len(step.terms) == 1),
        )

    def _readers(self, read: Same) -> list[Tap]:
        return [passing.tap for passing in read.given if passing not in self.block.pre.given[:1]]

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


def _entry(readers: Sequence[Tap], out: Tap, *, is_alone: bool) -> Tap | None:
    """Find where a term begins: the module that gives it, one around that, or the only."""
    around = [tap for tap in readers if _holds(tap.module, out.module)]
    if around:
        return replace(min(around, key=lambda tap: len(tap.module)), side="branch")
    paths = [tap.module for tap in readers]
    outermost = [
        tap
        for tap in readers
        if not any(path != tap.module and _holds(path, tap.module) for path in paths)
    ]
    alone = outermost if is_alone and len(outermost) == 1 else []
    return replace(alone[0], side="branch") if alone else None


def _holds(outer: str, inner: str) -> bool:
    return inner == outer or inner.startswith(f"{outer}.")


def _is_of(passing: Passing, other: Passing) -> bool:
    return passing.tap.module == other.tap.module


def _outermost(passings: Sequence[Passing]) -> Passing:
    return min(passings, key=lambda passing: (passing.depth, passing.place))
