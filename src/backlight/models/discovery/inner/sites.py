"""The sites inside of attention and of experts, each proven, or with the reason why it is not."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from backlight.models.discovery.inner.experts import with_parts
from backlight.models.discovery.inner.heads import Heads, find_heads
from backlight.models.discovery.inner.routing import Routing, find_routing
from backlight.models.discovery.proving import Proven
from backlight.models.discovery.reads import with_whole_entries
from backlight.models.discovery.wiring import Discovery
from backlight.models.sites import Side, Site, Tap, kind_of, layer_of
from backlight.models.subject import Subject


def with_inner_sites(subject: Subject, plain: Subject, proven: Proven) -> Subject:
    """Add the sites inside of attention and of experts, and tap the stream where it is whole.

    Args:
        subject: A model with its canonical sites.
        plain: The same with the paths of its modules alone, and its tap on attention.
        proven: How it is wired.

    Returns:
        The subject with more sites.
    """
    found, tokens = proven.found, proven.tokens
    heads = find_heads(plain, proven)
    routing, seen = find_routing(plain, found, tokens)
    routing = routing if seen is None else with_parts(found, routing, seen)
    subject = with_whole_entries(subject, plain, found, tokens)
    sites = with_routing(with_heads(subject.sites.values(), found, heads), found, routing)
    return replace(subject, sites={site.name: site for site in sites})


def with_heads(
    sites: Iterable[Site], found: Discovery, heads: Mapping[str, Heads | str]
) -> Iterator[Site]:
    """Add ``attn.q``, ``attn.k``, ``attn.v`` and ``attn.z`` where attention gives its output.

    Args:
        sites: The sites of a model, in the order in which their tensors pass.
        found: How it is wired.
        heads: By the path of each block that attends its heads, or why they are not known.

    Yields:
        All sites, in that order.
    """
    for site in sites:
        layer = layer_of(site.name)
        if layer is not None and kind_of(site.name) == "attn.out" and site.problem is None:
            yield from _sites(layer, heads.get(found.blocks[layer]))
        yield site


def with_routing(
    sites: Iterable[Site], found: Discovery, routing: Mapping[str, Routing | str]
) -> Iterator[Site]:
    """Add ``mlp.router``, ``mlp.routed.out`` and ``mlp.shared.out`` before ``mlp.out``.

    Args:
        sites: The sites of a model, in the order in which their tensors pass.
        found: How it is wired.
        routing: By the path of each block with experts its routing, or why it is not known.

    Yields:
        All sites, in that order.
    """
    for site in sites:
        layer = layer_of(site.name)
        if layer is not None and kind_of(site.name) == "mlp.out":
            known = routing.get(found.blocks[layer])
            if known is not None:
                yield _router(f"layers.{layer}.mlp.router", known)
                if isinstance(known, Routing):
                    yield from _parts(f"layers.{layer}.mlp", known, found.width)
        yield site


def _router(name: str, known: Routing | str) -> Site:
    if isinstance(known, str):
        return _unknown(name, known)
    return Site(
        name=name,
        tap=known.logits,
        width=known.num_experts,
        transformers=known.logits.module if known.logits.member is None else None,
    )


def _parts(mlp: str, known: Routing, width: int) -> Iterator[Site]:
    for part, tap in (("routed", known.routed), ("shared", known.shared)):
        name = f"{mlp}.{part}.out"
        if isinstance(tap, str):
            yield _unknown(name, tap)
        elif tap is not None:
            path = tap.module if tap.multiplier == 1.0 else None
            yield Site(name=name, tap=tap, width=width, transformers=path)


def _unknown(name: str, reason: str) -> Site:
    tap = Tap(module="", side="output")
    return Site(name=name, tap=tap, width=None, problem=f"{name} is not known: {reason}.")


def _sites(layer: int, heads: Heads | str | None) -> Iterator[Site]:
    names = [f"layers.{layer}.attn.{part}" for part in ("q", "k", "v", "z")]
    if not isinstance(heads, Heads):
        yield from (_unknown(name, heads) for name in names if heads is not None)
        return
    query, key, value, z = names
    module, width = heads.module, heads.key_width
    yield _of_heads(query, _handed(module, "query"), heads.num_heads, width)
    sides: tuple[tuple[str, Side, int], ...] = (
        (key, "key", width),
        (value, "value", heads.value_width),
    )
    for name, side, each in sides:
        if heads.shared is None:
            yield _of_heads(name, _handed(module, side), heads.num_key_heads, each)
        else:
            yield _unknown(name, f"its keys and values are those of {heads.shared}")
    if heads.is_gated:
        gated = f"layers.{layer}.attn.gated_z"
        yield _unknown(z, f"a gate multiplies it before a module is given it; that is {gated}")
        yield _of_heads(gated, heads.z, heads.num_heads, heads.value_width)
    else:
        lens = f"blocks.{layer}.attn.hook_z"
        site = _of_heads(z, heads.z, heads.num_heads, heads.value_width)
        yield replace(site, transformer_lens=lens)


def _handed(module: str, side: Side) -> Tap:
    return Tap(module=module, side=side, axes=(0, 2))


def _of_heads(name: str, tap: Tap, num_heads: int, width: int) -> Site:
    return Site(name=name, tap=tap, width=num_heads * width, num_heads=num_heads)
