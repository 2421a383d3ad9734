"""A small GPT that takes a learning rule: nanoGPT's shape, names and initialisation.

What differs from nanoGPT by default: the head is not tied to the embedding, and attention is
written out, so that softmax and sigmoid (Ramapuram et al. 2024, arXiv 2409.04431) differ in one
line.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from backlight.errors import ConfigError
from backlight.learning_rules.direct import DirectFeedback, DirectScale, ErrorPlace
from backlight.learning_rules.feedback import Scale
from backlight.learning_rules.norms import NormBackward, surrogate_norm
from backlight.learning_rules.rules import Rule, apply_rule
from backlight.learning_rules.swapping import check_choice

_Attention = Literal["softmax", "sigmoid"]
_Norm = Literal["layernorm", "rmsnorm"]
_Placement = Literal["pre", "post"]
_SigmoidBias = Literal["block_size", "visible_keys", "none"]
_Points = Literal["macro", "micro"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalGPTConfig:
    """What a network is made of, and how it learns.

    Attributes:
        block_size: The longest sequence.
        vocab_size: How many tokens there are.
        n_layer: Blocks.
        n_head: Heads in each; they share ``n_embd`` evenly.
        n_embd: The width of the residual stream.
        dropout: The share of activations dropped in training.
        bias: Linear maps and layer norms add a bias.
        tied_head: The head's weights are the embedding's.
        attn_mode: What turns scores into weights.
        sigmoid_bias: What is added to scores under a sigmoid: -log n, with n the block size or the
            number of keys that a query sees, or nothing.
        normalize_rows: A sigmoid's weights are divided by their sum over keys.
        norm: The kind of norm.
        norm_placement: ``pre``: x + f(norm(x)), and one last norm; ``post``: norm(x + f(x)).
        norm_backward: The backward of all norms.
        method: The learning rule.
        feedback_scale: The size of its matrices, as in ``apply_rule``; None for the rule's own.
        dfa_points: Where direct feedback arrives: ``macro``, at each block's end; ``micro``, also
            in the block's middle and after the activation of its MLP.
        dfa_error: Where the error is taken.
        dfa_shared: All points read the same matrix.
    """

    block_size: int = 64
    vocab_size: int = 65
    n_layer: int = 4
    n_head: int = 4
    n_embd: int = 128
    dropout: float = 0.0
    bias: bool = True
    tied_head: bool = False
    attn_mode: _Attention | str = "softmax"
    sigmoid_bias: _SigmoidBias | str = "block_size"
    normalize_rows: bool = False
    norm: _Norm | str = "layernorm"
    norm_placement: _Placement | str = "pre"
    norm_backward: NormBackward | str = "true"
    method: Rule | str = "bp"
    feedback_scale: Scale | DirectScale | str | None = None
    dfa_points: _Points | str = "macro"
    dfa_error: ErrorPlace | str = "before_head"
    dfa_shared: bool = True

    def __post_init__(self) -> None:
        check_choice("attention", self.attn_mode, get_args(_Attention))
        check_choice("bias of sigmoid attention", self.sigmoid_bias, get_args(_SigmoidBias))
        check_choice("norm", self.norm, get_args(_Norm))
        check_choice("placement of norms", self.norm_placement, get_args(_Placement))
        check_choice("set of feedback points", self.dfa_points, get_args(_Points))
        if min(self.block_size, self.vocab_size, self.n_layer, self.n_head, self.n_embd) < 1:
            raise ConfigError("The sizes of a network must all be 1 or more.")
        if self.n_embd % self.n_head:
            raise ConfigError(
                f"A width of {self.n_embd} cannot be shared evenly by {self.n_head} heads."
            )


class LocalGPT(nn.Module):
    """A decoder-only transformer whose linear maps and norms learn by the rules of its config."""

    def __init__(self, config: LocalGPTConfig) -> None:
        super().__init__()
        self.config = config
        self.transformer = Transformer(config)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        if config.tied_head:
            self.lm_head.weight = self.transformer.wte.weight
        self._initialise()
        surrogate_norm(self, config.norm_backward)
        apply_rule(
            self,
            config.method,
            scale=config.feedback_scale,
            direct=DirectFeedback(
                points=self.feedback_points(), error=config.dfa_error, shared=config.dfa_shared
            ),
        )

    def forward(
        self,
        tokens: Int[Tensor, "batch positions"],
        targets: Int[Tensor, "batch positions"] | None = None,
    ) -> tuple[Float[Tensor, "batch positions vocabulary"], Float[Tensor, ""] | None]:
        """Predict the next token everywhere.

        Args:
            tokens: What was read.
            targets: What comes next; None where no loss is wanted.

        Returns:
            The logits, and the mean cross-entropy in nats.

        Raises:
            ConfigError: If the sequence is longer than the block size.
        """
        if tokens.shape[1] > self.config.block_size:
            raise ConfigError(
                f"A sequence of {tokens.shape[1]} tokens is longer than the block size, "
                f"{self.config.block_size}."
            )
        logits = self.lm_head(self.transformer(tokens))
        if targets is None:
            return logits, None
        return logits, functional.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def feedback_points(self) -> list[str]:
        """List the paths of the modules where direct feedback arrives."""
        names = {"macro": ("",), "micro": (".mid", ".mlp.gelu", "")}[self.config.dfa_points]
        blocks = [f"transformer.h.{index}" for index in range(self.config.n_layer)]
        return [f"{block}{name}" for block in blocks for name in names]

    def _initialise(self) -> None:
        for name, parameter in self.named_parameters():
            if name.endswith("c_proj.weight"):  # what adds to the residual stream
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * self.config.n_layer))
            elif parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)


class Transformer(nn.Module):
    """Embeddings, blocks, and the last norm."""

    def __init__(self, config: LocalGPTConfig) -> None:
        super().__init__()
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.block_size, config.n_embd)
        self.drop = nn.Dropout(config.dropout)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = _norm(config) if config.norm_placement == "pre" else nn.Identity()

    def forward(
        self, tokens: Int[Tensor, "batch positions"]
    ) -> Float[Tensor, "batch positions width"]:
        """Read tokens."""
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.drop(self.wte(tokens) + self.wpe(positions))
        for block in self.h:
            x = block(x)
        return self.ln_f(x)


class Block(nn.Module):
    """Attention, then the MLP, each added to the residual stream."""

    def __init__(self, config: LocalGPTConfig) -> None:
        super().__init__()
        self.pre = config.norm_placement == "pre"
        self.ln_1 = _norm(config)
        self.attn = Attention(config)
        self.mid = nn.Identity()  # a name for the middle, where direct feedback can arrive
        self.ln_2 = _norm(config)
        self.mlp = MLP(config)

    def forward(
        self, x: Float[Tensor, "batch positions width"]
    ) -> Float[Tensor, "batch positions width"]:
        """Go on by one block."""
        if self.pre:
            x = self.mid(x + self.attn(self.ln_1(x)))
            return x + self.mlp(self.ln_2(x))
        x = self.mid(self.ln_1(x + self.attn(x)))
        return self.ln_2(x + self.mlp(x))


class Attention(nn.Module):
    """Causal attention; what a query may not see weighs exactly zero."""

    hidden: Tensor
    score_bias: Tensor

    def __init__(self, config: LocalGPTConfig) -> None:
        super().__init__()
        self.config = config
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd, bias=config.bias)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.attn_dropout = nn.Dropout(config.dropout)
        self.resid_dropout = nn.Dropout(config.dropout)
        size = config.block_size
        hidden = torch.ones(size, size, dtype=torch.bool).triu(1)
        self.register_buffer("hidden", hidden, persistent=False)
        self.register_buffer("score_bias", _score_bias(config), persistent=False)

    def forward(
        self, x: Float[Tensor, "batch positions width"]
    ) -> Float[Tensor, "batch positions width"]:
        """Gather from earlier positions."""
        length = x.shape[1]
        q, k, v = (
            part.unflatten(-1, (self.config.n_head, -1)).transpose(1, 2)
            for part in self.c_attn(x).chunk(3, dim=-1)
        )
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
        weights = self.weigh(scores.masked_fill(self.hidden[:length, :length], -math.inf))
        z = (self.attn_dropout(weights) @ v).transpose(1, 2).flatten(-2)
        return self.resid_dropout(self.c_proj(z))

    def weigh(
        self, scores: Float[Tensor, "batch heads positions positions"]
    ) -> Float[Tensor, "batch heads positions positions"]:
        """Turn scores into weights."""
        if self.config.attn_mode == "softmax":
            return scores.softmax(dim=-1)
        weights = (scores + self.score_bias[: scores.shape[-2]]).sigmoid()
        return weights / weights.sum(-1, keepdim=True) if self.config.normalize_rows else weights


class MLP(nn.Module):
    """Four times as wide inside."""

    def __init__(self, config: LocalGPTConfig) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd, bias=config.bias)
        self.gelu = nn.GELU()
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd, bias=config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, x: Float[Tensor, "batch positions width"]
    ) -> Float[Tensor, "batch positions width"]:
        """Change each position by itself."""
        return self.dropout(self.c_proj(self.gelu(self.c_fc(x))))


def _norm(config: LocalGPTConfig) -> nn.Module:
    if config.norm == "rmsnorm":
        return nn.RMSNorm(config.n_embd, eps=1e-5)
    return nn.LayerNorm(config.n_embd, eps=1e-5, bias=config.bias)


def _score_bias(config: LocalGPTConfig) -> Float[Tensor, "positions 1"]:
    """Compute what is added to the scores of each query under a sigmoid."""
    visible = torch.arange(1, config.block_size + 1, dtype=torch.float32).unsqueeze(1)
    biases = {
        "block_size": torch.full_like(visible, -math.log(config.block_size)),
        "visible_keys": -visible.log(),
        "none": torch.zeros_like(visible),
    }
    return biases[config.sigmoid_bias]
