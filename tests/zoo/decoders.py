"""What is proven of each decoder type of Transformers, built tiny, without the table of families.

For each type: discovery and all proofs, as when a user loads a model that the table does not know;
then the gradient at every site of the core against ``torch.autograd.grad`` of the model's plain
loss, through hooks of this file alone.
"""

import signal
import warnings
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from dataclasses import replace as with_changed
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from huggingface_hub import errors as hub_errors
from torch.autograd.graph import get_gradient_edge
from torch.nn.functional import cross_entropy

from backlight.capture.record import record
from backlight.data.batches import Batch, Passages
from backlight.errors import BacklightError
from backlight.models.discovery.finding import discover
from backlight.models.discovery.remembering import key_of
from backlight.models.discovery.wiring import Layer
from backlight.models.loading.discovered import with_discovered
from backlight.models.loading.loaded import logits_of
from backlight.models.sites import Site, kind_of, layer_of
from backlight.models.subject import Subject, plain_subject
from zoo.every_type import VOCABULARY, tiny
from zoo.tokenizers import WordTokenizer

DOCS = Path(__file__).parents[2] / "docs" / "decoders.md"
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->"
TIERS = ("core", "norms", "z", "q,k,v", "router")
AIMS = {"core": 110, "norms": 85, "q,k,v": 65}
SECONDS = 120
FAILS = (
    *(ArithmeticError, AssertionError, AttributeError, BacklightError, ImportError, LookupError),
    *(RuntimeError, TimeoutError, TypeError, ValueError),
    getattr(hub_errors, "StrictDataclassError", ValueError),  # huggingface_hub 0.26 has none
)
HALVES = ("attn", "mixer", "mlp")
CORE = ("resid.pre", "resid.mid", "resid.post", *(f"{half}.contribution" for half in HALVES))
EXACT = {torch.float32: 1e-5, torch.float64: 1e-6}


@dataclass(frozen=True, kw_only=True)
class Proven:
    """What is proven of one type.

    Attributes:
        name: The type.
        tiers: Those that are proven, of ``TIERS``; ``no experts`` where there is nothing to route.
        mixers: What mixes tokens, in the order in which it comes first.
        reason: Why the first tier that is missing is missing; empty if none is.
        errors: By number format, by how much a gradient is off that of autograd at most, relative
            to the largest number of the site.
    """

    name: str
    tiers: tuple[str, ...] = ()
    mixers: tuple[str, ...] = ()
    reason: str = ""
    errors: Mapping[torch.dtype, float] = field(default_factory=dict)


@contextmanager
def at_most(seconds):
    """End what takes longer with a ``TimeoutError``."""

    def stop(number, frame):
        raise TimeoutError(f"it took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def survey(name: str, *, seconds: int = SECONDS) -> Proven:
    """Build a type tiny, let it be discovered and proven, and hold its gradients against autograd.

    Returns:
        What is proven; the reason where a model of this size cannot be built, or is not served.
    """
    stage = "cannot be built tiny"
    try:
        with at_most(seconds), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = tiny(name)
            run(model)
            stage = "refused"
            plain = plain_subject(model, WordTokenizer(), name=name, forward=logits_of(model))
            subject = with_discovered(plain, model)
            key = key_of(model, model.config.to_json_string(use_diff=False))
            found = discover(plain, VOCABULARY, key=key)  # as it was found a moment ago
            errors = {torch.float32: largest_error(subject)}
            exact = in_float64(subject)
            if exact is not None:
                errors[torch.float64] = largest_error(exact)
    except FAILS as error:  # whatever a type's own code raises is its reason
        return Proven(name=name, reason=f"{stage}: {told(error)}")
    proven, mixers = judged(subject, errors), mixers_of(found)
    beside = () if "attention" in mixers else ("z", "q,k,v")  # nothing attends, so nothing is said
    tiers = tuple(tier for tier in proven.tiers if tier not in beside)
    return with_changed(proven, mixers=mixers, tiers=tiers)


def mixers_of(found):
    """List what mixes tokens, in the order in which it comes first."""
    if isinstance(found, str):
        return ()
    found = found.found
    kinds = [
        term.mixes
        for layer in found.layers
        if isinstance(layer, Layer)
        for addition in layer.additions
        for term in addition.terms
        if term.mixes != "none"
    ]
    return tuple(dict.fromkeys(kinds))


def told(error: Exception) -> str:
    """Say an error in one short line."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, BacklightError | TimeoutError):
        return text.split(": ")[0]
    return f"{type(error).__name__}: {text}"[:120]


def run(model):
    """Run a model once before it is looked at; RWKV rescales its weights in the first pass."""
    with torch.no_grad():
        model(input_ids=torch.ones(1, 2, dtype=torch.long), use_cache=False)


def in_float64(subject: Subject) -> Subject | None:
    """Ask for the sites of a subject in the same model in float64; None if it has none of that."""
    try:
        exact = tiny(subject.name, torch.float64)
        run(exact)
    except (RuntimeError, NotImplementedError):
        return None
    return with_changed(subject, model=exact, forward=logits_of(exact), head=None)


def judged(subject: Subject, errors) -> Proven:
    """Read the tiers off what a user sees: the sites, and what they say."""
    sites = subject.sites
    if f"layers.{subject.num_layers - 1}.resid.post" not in sites:
        reason = subject.facts["wiring"].removeprefix("not found: ")
        return Proven(name=subject.name, reason=reason, errors=errors)
    off = [error for dtype, error in errors.items() if error > EXACT[dtype]]
    missing = {
        "core": next(_outside_core(subject), None),
        "norms": next(_without_norm(subject), None),
        "z": next(_missing(subject, ("z",)), None),
        "q,k,v": next(_missing(subject, ("q", "k", "v")), None),
        "router": next(_without_router(subject), None),
    }
    if off:
        return Proven(name=subject.name, reason=f"gradients differ by {max(off):.0e}")
    if any(kind_of(name) == "attn.gated_z" for name in sites):
        missing["z"] = None
    tiers = tuple(tier for tier, reason in missing.items() if reason is None)
    if not any(kind_of(name) == "mlp.router" for name in sites):
        tiers = (*tiers[:-1], "no experts") if "router" in tiers else tiers
    reason = next((reason for reason in missing.values() if reason is not None), "")
    return Proven(name=subject.name, tiers=tiers, reason=reason, errors=errors)


def _outside_core(subject):
    """Say which core site is missing, and why."""
    for site in canonical(subject):
        if kind_of(site.name) in CORE and site.problem is not None:
            yield site.problem
    if "logits" not in subject.sites or subject.head is None:
        yield "no linear map with a scale and a soft cap makes the logits"


def _without_norm(subject):
    """Say which half is without a norm."""
    names = [site.name for site in canonical(subject) if site.problem is None]
    for layer in range(subject.num_layers):
        kinds = {kind_of(name) for name in names if layer_of(name) == layer}
        normed = {kind.split(".")[0].removesuffix("_post") for kind in kinds}
        if kinds & {"attn.contribution", "mixer.contribution"} and "norm1" not in normed:
            yield f"layers.{layer}: no norm of what its mixer reads or gives"
        is_second = "resid.mid" in kinds or "norm1" not in normed
        if "mlp.contribution" in kinds and is_second and "norm2" not in normed:
            yield f"layers.{layer}: no norm of what its MLP reads or gives"
    ends = [kind_of(name) for name in names if layer_of(name) == subject.num_layers - 1][-2:]
    if "final_norm.in" not in names and ends != ["norm2.out", "resid.post"]:
        yield "no norm of what the last block gives"


def _missing(subject, parts):
    """Say which part of attention is missing, in a layer that attends."""
    for name, site in subject.sites.items():
        if kind_of(name) == "attn.out" and site.problem is None:
            for part in parts:
                inner = subject.sites.get(name.replace("attn.out", f"attn.{part}"))
                if inner is None or inner.problem is not None:
                    yield f"no {name.replace('attn.out', part)}" if inner is None else inner.problem


def _without_router(subject):
    """Say of which experts the router is missing."""
    for name, site in subject.sites.items():
        if kind_of(name) == "mlp.router" and site.problem is not None:
            yield site.problem


def canonical(subject: Subject) -> list[Site]:
    """List the sites with names of our own."""
    return [
        site
        for name, site in subject.sites.items()
        if name in ("embed.out", "final_norm.in", "final_norm.out")
        or (name.startswith("layers.") and site.transformers != name)
    ]


def largest_error(subject: Subject) -> float:
    """Compare the gradients at all sites with those of autograd; branches are parts of one."""
    sites = [
        site
        for site in canonical(subject)
        if site.problem is None and site.tap.side in ("input", "output")
    ]
    tokens = np.random.default_rng(0).integers(3, VOCABULARY, 9)
    batch = Batch.of(Passages(tokens=[tokens]), (0,))
    if not sites:
        return 0.0
    found = record(subject, batch, sites).gradients
    expected = by_autograd(subject.model, batch.input_ids, sites)
    return max(float(_off(found[site.name][0], expected[site.name])) for site in sites)


def _off(found, expected):
    size = expected.abs().max()
    return (found - expected).abs().max() / size if size > 0 else found.abs().max()


def by_autograd(model, input_ids, sites):
    """Take gradients of the model's own loss, with hooks that note where each tensor passes."""
    edges, handles = {}, []
    for site in sites:
        module = model.get_submodule(site.tap.module)

        def before(module, args, kwargs, name=site.name):
            edges[name] = get_gradient_edge(args[0] if args else kwargs["hidden_states"])

        def after(module, args, output, name=site.name, member=site.tap.member):
            if not isinstance(output, torch.Tensor):
                output = output[0 if member is None else member]
            edges[name] = get_gradient_edge(output)

        if site.tap.side == "input":
            handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
        else:
            handles.append(module.register_forward_hook(after))
    output = model(input_ids=input_ids, use_cache=False)
    loss = cross_entropy(output.logits[0, :-1], input_ids[0, 1:])
    for handle in handles:
        handle.remove()
    gradients = torch.autograd.grad(loss, [edges[site.name] for site in sites])
    return {
        site.name: gradient.movedim(site.tap.axes, (0, 1)).reshape(len(input_ids[0]), -1)
        / site.tap.multiplier
        for site, gradient in zip(sites, gradients, strict=True)
    }


def row(proven: Proven) -> str:
    """Write what is proven of a type as a row of the table in ``docs/decoders.md``."""
    cells = ["yes" if tier in proven.tiers else "" for tier in TIERS]
    if "no experts" in proven.tiers:
        cells[-1] = "-"
    if proven.mixers and "attention" not in proven.mixers:
        cells[2:4] = ["-", "-"]
    reason = proven.reason.removesuffix(" Its modules can be named by their paths.")
    return f"| {' | '.join((proven.name, *cells, ', '.join(proven.mixers), reason))} |"


def table(found) -> str:
    """Write the whole table, with how many types reach each tier."""
    core = [each for each in found if "core" in each.tiers]
    counts = [f"{sum(tier in each.tiers for each in core)} {tier}" for tier in TIERS]
    told = f"{counts[0]},\nand of these " + ", ".join(counts[1:]).replace("q,k,v", "q, k, v")
    heads = " | ".join(("type", *(t.replace(",", ", ") for t in TIERS), "mixes tokens by"))
    return "\n".join(
        [
            f"Transformers {version('transformers')}: {len(found)} types; proven of {told}.",
            "",
            f"| {heads} | what is missing first, and why |",
            f"|{' --- |' * (len(TIERS) + 3)}",
            *map(row, found),
        ]
    )


def written() -> tuple[str, dict[str, str]]:
    """Read the table in ``docs/decoders.md``: its first line, and by type its row."""
    inside = DOCS.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0].strip()
    rows = [line for line in inside.splitlines() if line.startswith("| ")][2:]
    return inside.splitlines()[0], {line.split(" | ")[0].removeprefix("| "): line for line in rows}


def write(found) -> None:
    """Put the table between its marks."""
    before, _, rest = DOCS.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCS.write_text(f"{before}{BEGIN}{table(found)}\n{END}{after}", encoding="utf-8")
