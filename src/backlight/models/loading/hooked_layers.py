"""One layer of a model of TransformerLens: which hook is which site, proven by what adds up."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product

from torch import Tensor, nn

from backlight.models.proof import is_close
from backlight.models.sites import Side, Site, Tap
from backlight.models.wiring.families import Wiring

_STREAM = {
    "resid.pre": "hook_resid_pre",
    "resid.mid": "hook_resid_mid",
    "resid.post": "hook_resid_post",
}
_ORDER = (
    *("resid.pre", "norm1.in", "norm1.out", "attn.in", "attn.q", "attn.k", "attn.v", "attn.z"),
    *("attn.out", "attn.contribution", "resid.mid", "norm2.in", "norm2.out"),
    *("mlp.in", "mlp.out", "mlp.contribution", "resid.post"),
)
_HALVES = ("attn", "mlp")
_CANDIDATES = {
    "mid": ("hook_resid_mid", "ln2", "mlp"),
    "attn": ("hook_attn_out", "ln1_post", "attn"),
    "mlp": ("hook_mlp_out", "ln2_post", "mlp"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where the hooks of a model are.

    Attributes:
        paths: The path of each module.
        hooks: Each hook point by the names that TransformerLens gives it.
        sites: What was found at each path.
        head_width: How many numbers a head has.
    """

    paths: Mapping[nn.Module, str]
    hooks: Mapping[str, nn.Module]
    sites: Mapping[str, Site]
    head_width: int

    def path(self, name: str) -> str:
        """Find the path of a hook; a module's own name is its path."""
        return self.paths[self.hooks[name]] if name in self.hooks else name

    def output(self, name: str) -> Site | None:
        """Find what a hook or a module gives, if that can be looked at."""
        site = self.sites.get(self.path(name))
        if site is None or site.problem is not None:
            return None
        return replace(site, transformer_lens=name if name in self.hooks else None)

    def entry(self, name: str, side: Side) -> Site | None:
        """Find what a module is given, if it passes once."""
        site = self.output(name)
        if site is None:
            return None
        return Site(name=name, tap=Tap(module=site.tap.module, side=side), width=site.width)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """What adds up in a layer.

    Attributes:
        places: For each of our names that depends on it, which candidate it is.
        wiring: How the halves are wired; None if that could not be told.
        is_plain: What attention and the MLP return is what is added, with no norm between.
    """

    places: Mapping[str, str] = field(default_factory=dict[str, str])
    wiring: Wiring | None = None
    is_plain: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class HookedLayer:
    """One layer, with the places whose tensors may be those of our names.

    Attributes:
        places: Where the hooks are.
        number: Which layer.
        is_rotary: Queries and keys are rotated.
    """

    places: Places
    number: int
    is_rotary: bool

    def candidates(self) -> dict[str, Site]:
        """List what has to be seen of the layer, by the names of modules and hooks in it."""
        found = {
            "pre": self._entry("", "input"),
            "post": self._output(""),
            # In a bridge the hook called resid_mid is behind where the stream goes its own way.
            "mid hook_resid_mid": self._output("hook_resid_mid") if self._is_by_hand else None,
            "mid ln2": self._entry("ln2", "input"),
            "mid mlp": self._entry("mlp", "input"),
            "norm1.in": self._output("ln1.hook_in"),
            "norm2.in": self._output("ln2.hook_in") or self._entry("ln2", "branch"),
            **{
                f"{half} {name}": self._output(name)
                for half in _HALVES
                for name in _CANDIDATES[half]
            },
        }
        return {name: site for name, site in found.items() if site is not None}

    def sites(self, proven: Proven) -> Iterator[Site]:
        """List the layer's sites by our names, in the order in which their tensors pass.

        Args:
            proven: What was found to add up.

        Yields:
            Those that could be proven. Where the first norm is used several times in a pass, its
            input is a site that says so.
        """
        candidates = self.candidates()
        found = {kind: candidates[name] for kind, name in proven.places.items()}
        found |= {kind: site for kind, site in self._inner().items() if site is not None}
        for norm, name in (("norm1", "ln1"), ("norm2", "ln2")):
            out = self._output(name)
            if f"{norm}.in" in found and out is not None:
                found[f"{norm}.out"] = out
        problem = self._problem("ln1")
        if problem is not None and "resid.pre" in found:
            found["norm1.in"] = replace(found["resid.pre"], problem=problem)
        for kind in _ORDER:
            if kind in found:
                yield self._named(kind, found[kind])

    def _inner(self) -> dict[str, Site | None]:
        """List the sites of which the names in TransformerLens say all."""
        rotated = "rot_" if self.is_rotary else ""
        return {
            "attn.in": self._output("attn.hook_in"),
            "attn.q": self._output(f"attn.hook_{rotated}q"),
            "attn.k": self._output(f"attn.hook_{rotated}k"),
            "attn.v": self._output("attn.hook_v"),
            "attn.z": self._output("attn.hook_z"),
            "attn.out": self._output("attn"),
            "mlp.in": self._output("mlp.hook_in") or self._entry("mlp", "branch"),
            "mlp.out": self._output("mlp"),
        }

    def _named(self, kind: str, site: Site) -> Site:
        lens = site.transformer_lens
        if kind in _STREAM:
            lens = self._name(_STREAM[kind])
        elif lens == self._name("hook_resid_mid"):
            lens = None
        width = site.width if kind in ("attn.q", "attn.k", "attn.v", "attn.z") else None
        return replace(
            site,
            name=f"layers.{self.number}.{kind}",
            num_heads=1 if width is None else width // self.places.head_width,
            transformer_lens=lens,
        )

    @property
    def _is_by_hand(self) -> bool:
        name = self._name("hook_resid_mid")
        return self.places.path(name) == name

    def _name(self, name: str) -> str:
        return f"blocks.{self.number}.{name}".removesuffix(".")

    def _output(self, name: str) -> Site | None:
        return self.places.output(self._name(name))

    def _entry(self, name: str, side: Side) -> Site | None:
        return self.places.entry(self._name(name), side)

    def _problem(self, name: str) -> str | None:
        site = self.places.sites.get(self.places.path(self._name(name)))
        return None if site is None else site.problem


def prove_layer(seen: Mapping[str, Tensor]) -> Proven:
    """Find out which tensors of a layer are terms of its residual stream.

    Args:
        seen: The tensors of its candidates, ``[batch, positions, width]``.

    Returns:
        What adds up: stream plus what attention adds is the stream between, and so on; or both
        halves at once. Nothing, if nothing does.
    """
    if "pre" not in seen or "post" not in seen:
        return Proven()
    pre, post = seen["pre"], seen["post"]
    ends = {"resid.pre": "pre", "resid.post": "post"}
    for mid, attention, mlp in _ways(seen):
        if mid is None:
            adds_up = is_close(pre + seen[attention] + seen[mlp], post)
        else:
            adds_up = is_close(pre + seen[attention], seen[mid])
            adds_up = adds_up and is_close(seen[mid] + seen[mlp], post)
        if adds_up:
            halves = {"attn.contribution": attention, "mlp.contribution": mlp}
            between = {} if mid is None else {"resid.mid": mid}
            return _with_norms(seen, {**ends, **halves, **between})
    for attention in _there(seen, "attn"):
        if is_close(pre + seen[attention], post):
            return _with_norms(seen, {**ends, "attn.contribution": attention})
    return Proven(places=ends)


def _there(seen: Mapping[str, Tensor], what: str) -> list[str]:
    """List the candidates that were seen, the likeliest first."""
    return [f"{what} {name}" for name in _CANDIDATES[what] if f"{what} {name}" in seen]


def _ways(seen: Mapping[str, Tensor]) -> Iterator[tuple[str | None, str, str]]:
    """List the ways in which a layer may add up: what is between the halves, and what they add."""
    return product((*_there(seen, "mid"), None), _there(seen, "attn"), _there(seen, "mlp"))


def _with_norms(seen: Mapping[str, Tensor], places: Mapping[str, str]) -> Proven:
    """Add the norms that read the stream, and say how the halves are wired."""
    streams = {"norm1.in": "resid.pre", "norm2.in": "resid.mid"}
    if "resid.mid" not in places:
        streams["norm2.in"] = "resid.pre"
    norms = {
        norm: norm
        for norm, stream in streams.items()
        if norm in seen and is_close(seen[norm], seen[places[stream]])
    }
    wiring: Wiring | None = None
    if "resid.mid" in places:
        wiring = "sequential"
    elif "mlp.contribution" in places and "norm2.in" in norms:
        wiring = "parallel"  # the MLP does not see what attention adds
    is_plain = all(
        f"{half} {half}" in seen
        and is_close(seen[places[f"{half}.contribution"]], seen[f"{half} {half}"])
        for half in _HALVES
        if f"{half}.contribution" in places
    )
    return Proven(places={**places, **norms}, wiring=wiring, is_plain=is_plain)
