"""All sites of a model, read off its entry in the table of families."""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from backlight.models.sites import Site, Tap
from backlight.models.wiring.families import Family, Wiring

# The parts of a block in the order in which their tensors pass. A block without one of the norms
# has no sites there; ``proof.py`` holds the order against the model.
_ORDERS: dict[Wiring, tuple[str, ...]] = {
    "sequential": (
        *("resid.pre", "norm1", "attn", "norm1_post", "attn.contribution"),
        *("resid.mid", "norm2", "mlp", "norm2_post", "mlp.contribution", "resid.post"),
    ),
    "parallel": (
        *("resid.pre", "norm1", "norm2", "attn", "attn.contribution"),
        *("mlp", "mlp.contribution", "resid.post"),
    ),
    "post_norm": (
        *("resid.pre", "attn", "attn.contribution", "norm1"),
        *("resid.mid", "mlp", "mlp.contribution", "norm2", "resid.post"),
    ),
}
_NORMS_IN_LENS = {
    "norm1": "ln1",
    "norm2": "ln2",
    "norm1_post": "ln1_post",
    "norm2_post": "ln2_post",
}
_Half = Literal["attn", "mlp"]


def block_paths(family: Family, config: Any) -> list[str]:
    """List the paths of a model's blocks, as in ``named_modules``."""
    return [f"{family.blocks}.{layer}" for layer in range(config.num_hidden_layers)]


def _declares(config: Any, name: str) -> bool:
    """Whether an architecture has a setting; Transformers 4 keeps no defaults in the class."""
    return hasattr(type(config), name) or name in inspect.signature(type(config)).parameters


def sites_of(family: Family, config: Any) -> Iterator[Site]:
    """List all sites of a model, in the order in which their tensors pass.

    Args:
        family: The model's entry.
        config: Its Transformers configuration.

    Yields:
        The sites: ``embed.out``, those of each layer, those of the final norm, ``logits``.
    """
    yield _embedding(family, config)
    for layer, path in enumerate(block_paths(family, config)):
        yield from _LayerSites(family=family, config=config, layer=layer, block=path).in_order()
    if family.final_norm is not None:
        yield from _final_norm(family, family.final_norm, int(config.hidden_size))
    changed = (family.logit_multiplier, family.logit_divisor, family.logit_cap)
    is_plain = all(_value(config, name) in (None, 1.0) for name in changed)
    yield Site(
        name="logits",
        tap=Tap(module=family.head, side="logits"),
        width=int(config.vocab_size),
        transformers=family.head if is_plain else None,
    )


def _value(config: Any, name: str | None) -> float | None:
    """Read a number of the configuration; None where the family or the model has no such one."""
    value = None if name is None else getattr(config, name)
    return None if value is None else float(value)


def _embedding(family: Family, config: Any) -> Site:
    is_plain = family.rotary and _value(config, family.embedding_multiplier) in (None, 1.0)
    refused = (
        "hook_embed is the token embedding alone; what enters layer 0 here has positions, a factor "
        "or a norm in it too. Ask for embed.out."
    )
    return Site(
        name="embed.out",
        tap=Tap(module=f"{family.blocks}.0", side="input"),
        width=int(config.hidden_size),
        transformer_lens="hook_embed" if is_plain else None,
        refused={} if is_plain else {"hook_embed": refused},
    )


def _final_norm(family: Family, path: str, width: int) -> Iterator[Site]:
    yield Site(name="final_norm.in", tap=Tap(module=path, side="branch"), width=width)
    yield Site(
        name="final_norm.out",
        tap=Tap(module=path, side="output"),
        width=width,
        transformers=path,
        **_normalized(family, "ln_final.hook_normalized", "final_norm.out"),
    )


def _normalized(family: Family, hook: str, name: str) -> dict[str, Any]:
    """Name a norm's output as TransformerLens does, or say why that name is another tensor.

    There ``hook_normalized`` is what a layer norm returns, but in an RMS norm it is what comes
    before the gain, which is no site here.

    Args:
        family: The model's entry.
        hook: The name in TransformerLens.
        name: Our name of the norm's output.

    Returns:
        Fields of the site.
    """
    if family.norm_kind == "layer":
        return {"transformer_lens": hook}
    refused = f"{hook} is before the gain of an RMS norm; {name} is after it. Ask for {name}."
    return {"refused": {hook: refused}}


@dataclass(frozen=True, slots=True, kw_only=True)
class _LayerSites:
    """The sites of one layer, read off a family's entry."""

    family: Family
    config: Any
    layer: int
    block: str

    def in_order(self) -> Iterator[Site]:
        for part in _ORDERS[self.family.wiring]:
            match part.split("."):
                case ["resid", moment]:
                    yield self._stream(moment)
                case ["attn" | "mlp" as half, "contribution"]:
                    yield self._contribution(half)
                case ["attn"]:
                    yield from self._attention()
                case ["mlp"]:
                    path = self._path(self.family.mlp_in)
                    yield self._site("mlp.in", Tap(module=path, side="branch"))
                    yield self._output("mlp")
                case [norm]:
                    yield from self._norm(norm, getattr(self.family, norm))
                case _:
                    raise AssertionError(part)

    def _path(self, module: str) -> str:
        return f"{self.block}.{module}"

    def _site(self, kind: str, tap: Tap, width: int | None = None, **names: Any) -> Site:
        # A multiplied tensor is not what the module returns, so it is not called by its path.
        is_module = tap.side == "output" and tap.multiplier == 1.0
        return Site(
            name=f"layers.{self.layer}.{kind}",
            tap=tap,
            width=int(self.config.hidden_size) if width is None else width,
            transformers=tap.module if is_module else None,
            **names,
        )

    def _lens(self, hook: str) -> str:
        return f"blocks.{self.layer}.{hook}"

    def _stream(self, moment: str) -> Site:
        family, hook = self.family, self._lens(f"hook_resid_{moment}")
        if moment != "mid":
            tap = Tap(module=self.block, side="input" if moment == "pre" else "output")
        elif family.wiring == "post_norm" and family.norm1 is not None:
            tap = Tap(module=self._path(family.norm1), side="output")
        else:
            tap = Tap(module=self._path(family.norm2 or family.mlp_in), side="input")
        if family.wiring == "post_norm" and moment != "pre":
            sum_ = f"layers.{self.layer}.{'norm1.in' if moment == 'mid' else 'norm2.in'}"
            refused = (
                f"{hook} is the sum before the norm, {sum_}; layers.{self.layer}.resid.{moment} is "
                "after it. Ask for one of the two."
            )
            return self._site(f"resid.{moment}", tap, refused={hook: refused})
        return self._site(f"resid.{moment}", tap, transformer_lens=hook)

    def _norm(self, name: str, module: str | None) -> Iterator[Site]:
        if module is None:
            return
        path = self._path(module)
        # TransformerLens taps the stream as the MLP half alone sees it: that is our norm2.in.
        is_entry = name == "norm2" and self.family.wiring != "post_norm"
        entry = self._lens("hook_mlp_in") if is_entry else None
        yield self._site(f"{name}.in", Tap(module=path, side="branch"), transformer_lens=entry)
        hook = self._lens(f"{_NORMS_IN_LENS[name]}.hook_normalized")
        yield self._site(
            f"{name}.out",
            Tap(module=path, side="output"),
            **_normalized(self.family, hook, f"layers.{self.layer}.{name}.out"),
        )

    def _attention(self) -> Iterator[Site]:
        family, path = self.family, self._path(self.family.attn)
        yield self._site("attn.in", Tap(module=path, side="branch"))
        yield from self._query_key_norms()
        if family.attn_interface:
            yield self._in_heads(
                "q", Tap(module=path, side="query", axes=(0, 2)), **self._rotated("q")
            )
            yield self._in_heads(
                "k", Tap(module=path, side="key", axes=(0, 2)), **self._rotated("k")
            )
            lens = self._lens("attn.hook_v")
            tap = Tap(module=path, side="value", axes=(0, 2))
            yield self._in_heads("v", tap, transformer_lens=lens)
        tap = Tap(module=self._path(family.z), side="input")
        yield self._in_heads("z", tap, transformer_lens=self._lens("attn.hook_z"))
        yield self._output("attn")

    def _query_key_norms(self) -> Iterator[Site]:
        family = self.family
        if family.qk_norm_when is not None and not getattr(self.config, family.qk_norm_when):
            return
        for name, module in (("q_norm", family.q_norm), ("k_norm", family.k_norm)):
            if module is not None:
                axes = (0, 2) if family.qk_norm_heads_first else (0, 1)
                yield self._in_heads(name, Tap(module=self._path(module), side="output", axes=axes))

    def _in_heads(self, name: str, tap: Tap, **names: Any) -> Site:
        """Describe a site of attention, whose heads lie side by side."""
        num_heads = int(self.config.num_attention_heads)
        width = getattr(self.config, "head_dim", None)
        width = int(width or self.config.hidden_size // num_heads)
        # An architecture without grouped heads ignores such a value in a configuration file.
        if name in ("k", "k_norm", "v") and _declares(self.config, "num_key_value_heads"):
            num_heads = int(self.config.num_key_value_heads or num_heads)
        return self._site(f"attn.{name}", tap, num_heads * width, num_heads=num_heads, **names)

    def _rotated(self, name: Literal["q", "k"]) -> dict[str, Any]:
        """Name the queries or keys as TransformerLens does; one of its two names is another tensor.

        Args:
            name: Which of the two.

        Returns:
            Fields of the site.
        """
        plain, rotated = self._lens(f"attn.hook_{name}"), self._lens(f"attn.hook_rot_{name}")
        ours = f"layers.{self.layer}.attn.{name}"
        if self.family.rotary:
            refused = (
                f"{plain} is {name} before rotary positions; {ours} is after them, which "
                f"TransformerLens calls {rotated}. Ask for that."
            )
            return {"transformer_lens": rotated, "refused": {plain: refused}}
        if name == "q" and self.family.query_scaled:
            refused = (
                f"{plain} is q before it is divided by the root of the head's width; {ours} is "
                f"after that. Ask for {ours}."
            )
            return {"refused": {plain: refused}}
        return {"transformer_lens": plain}

    def _modules(self, half: _Half) -> tuple[str, str, str | None]:
        """Name the module that holds a half, the one that returns its output, and its post-norm."""
        family = self.family
        if half == "attn":
            return family.attn, family.attn_out or family.attn, family.norm1_post
        return family.mlp_in, family.mlp_out or family.mlp_in, family.norm2_post

    def _output(self, half: _Half) -> Site:
        whole, module, post_norm = self._modules(half)
        path, name = self._path(whole), f"layers.{self.layer}.{half}.out"
        refused = (
            f"{path} returns the {half}'s output plus the residual stream. For the output alone "
            f"ask for {name}, for the sum for what follows it in the stream."
        )
        return self._site(
            f"{half}.out",
            Tap(module=self._path(module), side="output"),
            transformer_lens=None if self._is_changed(post_norm) else self._added(half),
            refused={path: refused} if module.startswith(f"{whole}.") else {},
        )

    def _contribution(self, half: _Half) -> Site:
        _, module, post_norm = self._modules(half)
        path = self._path(post_norm or module)
        return self._site(
            f"{half}.contribution",
            Tap(module=path, side="output", multiplier=self._multiplier),
            transformer_lens=self._added(half) if self._is_changed(post_norm) else None,
        )

    def _added(self, half: _Half) -> str:
        """Name what TransformerLens adds to the stream: after a sandwich norm or a multiplier."""
        return self._lens(f"hook_{half}_out")

    def _is_changed(self, post_norm: str | None) -> bool:
        return post_norm is not None or self._multiplier != 1.0

    @property
    def _multiplier(self) -> float:
        value = _value(self.config, self.family.residual_multiplier)
        return 1.0 if value is None else value
