"""All sites of a model, read off its entry in the table of families."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from backlight.models.families import Family
from backlight.models.sites import Site, Tap


def sites_of(family: Family, config: Any) -> Iterator[Site]:
    """List all sites of a model, in the order in which their tensors pass.

    Args:
        family: The model's entry.
        config: Its Transformers configuration.

    Yields:
        The sites: ``embed.out``, those of each layer, those of the final norm, ``logits``.
    """
    yield _embedding(family, config)
    for layer in range(config.num_hidden_layers):
        yield from _LayerSites(family=family, config=config, layer=layer).in_order()
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

    def in_order(self) -> Iterator[Site]:
        if self.family.wiring == "parallel":
            yield from self._parallel()
        elif self.family.wiring == "post_norm":
            yield from self._post_norm()
        else:
            yield from self._sequential()

    def _sequential(self) -> Iterator[Site]:
        yield self._stream("pre", Tap(module=self._path(""), side="input"))
        yield from self._norm("norm1", self.family.norm1)
        yield from self._attention()
        yield from self._norm("norm1_post", self.family.norm1_post)
        yield self._contribution("attn", self.family.attn_out, self.family.norm1_post)
        middle = self.family.norm2 or self.family.mlp_in
        yield self._stream("mid", Tap(module=self._path(middle), side="input"))
        yield from self._norm("norm2", self.family.norm2)
        yield from self._mlp()
        yield from self._norm("norm2_post", self.family.norm2_post)
        yield self._contribution("mlp", self.family.mlp_out, self.family.norm2_post)
        yield self._stream("post", Tap(module=self._path(""), side="output"))

    def _parallel(self) -> Iterator[Site]:
        yield self._stream("pre", Tap(module=self._path(""), side="input"))
        yield from self._norm("norm1", self.family.norm1)
        yield from self._norm("norm2", self.family.norm2)
        yield from self._attention()
        yield self._contribution("attn", self.family.attn_out, None)
        yield from self._mlp()
        yield self._contribution("mlp", self.family.mlp_out, None)
        yield self._stream("post", Tap(module=self._path(""), side="output"))

    def _post_norm(self) -> Iterator[Site]:
        assert self.family.norm1 is not None
        yield self._stream("pre", Tap(module=self._path(""), side="input"))
        yield from self._attention()
        yield self._contribution("attn", self.family.attn_out, None)
        yield from self._norm("norm1", self.family.norm1)
        yield self._stream("mid", Tap(module=self._path(self.family.norm1), side="output"))
        yield from self._mlp()
        yield self._contribution("mlp", self.family.mlp_out, None)
        yield from self._norm("norm2", self.family.norm2)
        yield self._stream("post", Tap(module=self._path(""), side="output"))

    def _path(self, module: str) -> str:
        return f"{self.family.blocks}.{self.layer}" + (f".{module}" if module else "")

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

    def _stream(self, moment: str, tap: Tap) -> Site:
        hook = self._lens(f"hook_resid_{moment}")
        if self.family.wiring == "post_norm" and moment != "pre":
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
        lens = {"norm1": "ln1", "norm2": "ln2", "norm1_post": "ln1_post", "norm2_post": "ln2_post"}
        # TransformerLens taps the stream as the MLP half alone sees it: that is our norm2.in.
        is_entry = name == "norm2" and self.family.wiring != "post_norm"
        entry = self._lens("hook_mlp_in") if is_entry else None
        yield self._site(f"{name}.in", Tap(module=path, side="branch"), transformer_lens=entry)
        hook = self._lens(f"{lens[name]}.hook_normalized")
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
            yield self._rotated("q", path, self._num_heads)
            yield self._rotated("k", path, self._num_key_value_heads)
            yield self._site(
                "attn.v",
                Tap(module=path, side="value", axes=(0, 2)),
                self._num_key_value_heads * self._head_width,
                num_heads=self._num_key_value_heads,
                transformer_lens=self._lens("attn.hook_v"),
            )
        yield self._site(
            "attn.z",
            Tap(module=self._path(family.z), side="input"),
            self._num_heads * self._head_width,
            num_heads=self._num_heads,
            transformer_lens=self._lens("attn.hook_z"),
        )
        yield self._half("attn", family.attn, family.attn_out, family.norm1_post)

    def _query_key_norms(self) -> Iterator[Site]:
        switch = self.family.qk_norm_when
        if switch is not None and not getattr(self.config, switch):
            return
        heads = {"q": self._num_heads, "k": self._num_key_value_heads}
        modules = {"q": self.family.q_norm, "k": self.family.k_norm}
        for name, module in modules.items():
            if module is not None:
                yield self._site(
                    f"attn.{name}_norm",
                    Tap(
                        module=self._path(module),
                        side="output",
                        axes=(0, 2) if self.family.qk_norm_heads_first else (0, 1),
                    ),
                    heads[name] * self._head_width,
                    num_heads=heads[name],
                )

    def _rotated(self, name: Literal["q", "k"], path: str, num_heads: int) -> Site:
        side: Literal["query", "key"] = "query" if name == "q" else "key"
        plain, rotated = self._lens(f"attn.hook_{name}"), self._lens(f"attn.hook_rot_{name}")
        ours = f"layers.{self.layer}.attn.{name}"
        refused: dict[str, str] = {}
        if self.family.rotary:
            refused[plain] = (
                f"{plain} is {name} before rotary positions; {ours} is after them, which "
                f"TransformerLens calls {rotated}. Ask for that."
            )
        elif name == "q" and self.family.query_scaled:
            refused[plain] = (
                f"{plain} is q before it is divided by the root of the head's width; {ours} is "
                f"after that. Ask for {ours}."
            )
        lens = rotated if self.family.rotary else plain
        return self._site(
            f"attn.{name}",
            Tap(module=path, side=side, axes=(0, 2)),
            num_heads * self._head_width,
            num_heads=num_heads,
            transformer_lens=None if lens in refused else lens,
            refused=refused,
        )

    def _mlp(self) -> Iterator[Site]:
        family = self.family
        yield self._site("mlp.in", Tap(module=self._path(family.mlp_in), side="branch"))
        yield self._half("mlp", family.mlp_in, family.mlp_out, family.norm2_post)

    def _half(self, half: str, whole: str, module: str, post_norm: str | None) -> Site:
        """Give what attention or MLP returns.

        Args:
            half: Which of the two.
            whole: The module that holds all of it.
            module: The module that returns it; a part of ``whole`` where ``whole`` itself adds the
                residual stream to it.
            post_norm: The norm between it and the stream.

        Returns:
            The site.
        """
        path, name = self._path(whole), f"layers.{self.layer}.{half}.out"
        refused = (
            f"{path} returns the {half}'s output plus the residual stream. For the output alone "
            f"ask for {name}, for the sum for what follows it in the stream."
        )
        return self._site(
            f"{half}.out",
            Tap(module=self._path(module), side="output"),
            transformer_lens=None if self._is_changed(post_norm) else self._hook_out(half),
            refused={path: refused} if module.startswith(f"{whole}.") else {},
        )

    def _contribution(self, half: str, module: str, post_norm: str | None) -> Site:
        return self._site(
            f"{half}.contribution",
            Tap(module=self._path(post_norm or module), side="output", multiplier=self._multiplier),
            transformer_lens=self._hook_out(half) if self._is_changed(post_norm) else None,
        )

    def _hook_out(self, half: str) -> str:
        """Name what TransformerLens adds to the stream: after a sandwich norm or a multiplier."""
        return self._lens(f"hook_{half}_out")

    def _is_changed(self, post_norm: str | None) -> bool:
        return post_norm is not None or self._multiplier != 1.0

    @property
    def _multiplier(self) -> float:
        value = _value(self.config, self.family.residual_multiplier)
        return 1.0 if value is None else value

    @property
    def _num_heads(self) -> int:
        return int(self.config.num_attention_heads)

    @property
    def _num_key_value_heads(self) -> int:
        # An architecture without grouped heads ignores such a value in a configuration file.
        is_known = hasattr(type(self.config), "num_key_value_heads")
        grouped = self.config.num_key_value_heads if is_known else None
        return int(grouped or self._num_heads)

    @property
    def _head_width(self) -> int:
        width = getattr(self.config, "head_dim", None)
        return int(width or self.config.hidden_size // self._num_heads)
