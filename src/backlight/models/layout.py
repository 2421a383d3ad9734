"""All sites of a model, read off its entry in the table of families."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from backlight.models.families import Family
from backlight.models.sites import Site, Tap

__all__ = ["sites_of"]


def sites_of(family: Family, config: Any) -> Iterator[Site]:
    """List all sites of a model, in the order in which their tensors pass.

    Args:
        family: The model's entry.
        config: Its Transformers configuration.

    Yields:
        The sites: ``embed.out``, those of each layer, those of the final norm, ``logits``.
    """
    width = int(config.hidden_size)
    first, last = f"{family.blocks}.0", config.num_hidden_layers
    yield Site(
        name="embed.out",
        tap=Tap(module=first, side="input"),
        width=width,
        transformer_lens="hook_embed" if family.rotary else None,
    )
    for layer in range(last):
        yield from _LayerSites(family=family, config=config, layer=layer).in_order()
    if family.final_norm is not None:
        name = family.final_norm
        yield Site(name="final_norm.in", tap=Tap(module=name, side="branch"), width=width)
        yield Site(
            name="final_norm.out",
            tap=Tap(module=name, side="output"),
            width=width,
            transformers=name,
            transformer_lens="ln_final.hook_normalized",
        )
    yield Site(
        name="logits",
        tap=Tap(module=family.head, side="logits"),
        width=int(config.vocab_size),
        transformers=family.head,
    )


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
        return Site(
            name=f"layers.{self.layer}.{kind}",
            tap=tap,
            width=int(self.config.hidden_size) if width is None else width,
            transformers=tap.module if tap.side == "output" else None,
            **names,
        )

    def _lens(self, hook: str) -> str:
        return f"blocks.{self.layer}.{hook}"

    def _stream(self, moment: str, tap: Tap) -> Site:
        return self._site(
            f"resid.{moment}", tap, transformer_lens=self._lens(f"hook_resid_{moment}")
        )

    def _norm(self, name: str, module: str | None) -> Iterator[Site]:
        if module is None:
            return
        path = self._path(module)
        lens = {"norm1": "ln1", "norm2": "ln2", "norm1_post": "ln1_post", "norm2_post": "ln2_post"}
        # TransformerLens taps the stream as the MLP half alone sees it: that is our norm2.in.
        is_entry = name == "norm2" and self.family.wiring != "post_norm"
        entry = self._lens("hook_mlp_in") if is_entry else None
        yield self._site(f"{name}.in", Tap(module=path, side="branch"), transformer_lens=entry)
        yield self._site(
            f"{name}.out",
            Tap(module=path, side="output"),
            transformer_lens=self._lens(f"{lens[name]}.hook_normalized"),
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
        yield self._site(
            "attn.out",
            Tap(module=self._path(family.attn_out), side="output"),
            # In TransformerLens, hook_attn_out comes after a sandwich norm.
            transformer_lens=None if family.norm1_post else self._lens("hook_attn_out"),
        )

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
        refused = (
            f"{plain} is {name} before rotary positions; layers.{self.layer}.attn.{name} is after "
            f"them, which TransformerLens calls {rotated}. Ask for that."
        )
        return self._site(
            f"attn.{name}",
            Tap(module=path, side=side, axes=(0, 2)),
            num_heads * self._head_width,
            num_heads=num_heads,
            transformer_lens=rotated if self.family.rotary else plain,
            refused={plain: refused} if self.family.rotary else {},
        )

    def _mlp(self) -> Iterator[Site]:
        family = self.family
        yield self._site("mlp.in", Tap(module=self._path(family.mlp_in), side="branch"))
        yield self._site(
            "mlp.out",
            Tap(module=self._path(family.mlp_out), side="output"),
            transformer_lens=None if family.norm2_post else self._lens("hook_mlp_out"),
        )

    def _contribution(self, half: str, module: str, post_norm: str | None) -> Site:
        name = self.family.residual_multiplier
        multiplier = 1.0 if name is None else float(getattr(self.config, name))
        return self._site(
            f"{half}.contribution",
            Tap(module=self._path(post_norm or module), side="output", multiplier=multiplier),
            transformer_lens=self._lens(f"hook_{half}_out") if post_norm else None,
        )

    @property
    def _num_heads(self) -> int:
        return int(self.config.num_attention_heads)

    @property
    def _num_key_value_heads(self) -> int:
        return int(getattr(self.config, "num_key_value_heads", None) or self._num_heads)

    @property
    def _head_width(self) -> int:
        width = getattr(self.config, "head_dim", None)
        return int(width or self.config.hidden_size // self._num_heads)
