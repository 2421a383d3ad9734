"""Small trainings of character models, on which hands can be laid at any step."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from backlight.data.characters import Characters, characters_of, draw_batch, shipped_text
from backlight.learning_rules import LocalGPT, LocalGPTConfig
from backlight.training.log.history import History
from backlight.training.watching.schedules import Schedule
from backlight.training.watching.watch import watch

Step = Callable[[int], None]


@cache
def text() -> Characters:
    """Return the start of the shipped plays."""
    return characters_of(shipped_text()[:200_000])


@dataclass(kw_only=True)
class Training:
    """A loop with everything that a fault may need to take hold of.

    Attributes:
        model: Called with tokens and targets.
        optimizer: What moves it.
        batches: Where batches come from.
        num_steps: Optimizer steps.
        rate: The learning rate at a step, as a factor; None for a constant one.
        clip: The largest norm of the gradient.
        zero_grad: Gradients are set to None before each step.
        before_step: Called with the step's number (from 1) before its forward pass.
        change_batch: What becomes of a batch.
        change_loss: What becomes of the loss.
        step: The step it is at.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    batches: Iterator[tuple[Tensor, Tensor]]
    num_steps: int = 100
    rate: Callable[[int], float] | None = None
    clip: float | None = None
    zero_grad: bool = True
    before_step: list[Step] = field(default_factory=list)
    step: int = 0
    change_batch: Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]] = lambda step, x, y: (x, y)
    change_loss: Callable[[int, Tensor], Tensor] = lambda step, loss: loss

    def watched(self, run_dir: Path | None = None, schedule: Schedule | int = 1) -> History:
        """Train under a watch, and give what it saw."""
        model, optimizer = self.model, self.optimizer
        with watch(model, optimizer, run_dir, schedule=schedule, status=False) as monitor:
            self.go(monitor.loss)
        return monitor.history()

    def go(self, told: Callable[[float], None] = lambda loss: None) -> None:
        """Train, telling each step's loss before the optimizer's step."""
        base = [group["lr"] for group in self.optimizer.param_groups]
        for step in range(1, self.num_steps + 1):
            for group, rate in zip(self.optimizer.param_groups, base, strict=True):
                group["lr"] = rate * (1.0 if self.rate is None else self.rate(step))
            self.step = step
            for hand in self.before_step:
                hand(step)
            x, y = self.change_batch(step, *next(self.batches))
            loss = self.change_loss(step, loss_of(self.model, x, y))
            if self.zero_grad:
                self.optimizer.zero_grad()
            loss.backward()
            told(loss.item())
            if self.clip is not None:
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
            self.optimizer.step()


def loss_of(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Compute the mean cross-entropy of any of the models here."""
    if isinstance(model, LocalGPT):
        return model(x, y)[1]
    output = model(x)
    logits = output if isinstance(output, Tensor) else output.logits
    return nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten())


def local_training(
    seed: int,
    *,
    num_steps: int = 100,
    learning_rate: float = 2e-3,
    batch_size: int = 8,
    warm_up: int = 10,
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.AdamW,
    **options: Any,
) -> Training:
    """Prepare the training of a small GPT of ours."""
    torch.manual_seed(seed)
    size = {"block_size": 32, "n_layer": 4, "n_head": 4, "n_embd": 32}
    model = LocalGPT(LocalGPTConfig(vocab_size=len(text().vocabulary), **{**size, **options}))
    return Training(
        model=model,
        optimizer=optimizer(model.parameters(), lr=learning_rate),
        batches=batches(seed, batch_size, model.config.block_size),
        num_steps=num_steps,
        rate=warmed_up(warm_up) if warm_up else None,
    )


def transformers_training(
    seed: int,
    *,
    num_steps: int = 100,
    learning_rate: float = 2e-3,
    batch_size: int = 8,
    kind: str = "llama",
    **options: Any,
) -> Training:
    """Prepare the training of a small Llama or Qwen2 of Transformers."""
    torch.manual_seed(seed)
    size = {
        "hidden_size": 32,
        "intermediate_size": 88,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": len(text().vocabulary),
        "max_position_embeddings": 32,
        "pad_token_id": None,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    configs = {"llama": (LlamaConfig, LlamaForCausalLM), "qwen2": (Qwen2Config, Qwen2ForCausalLM)}
    config, model_class = configs[kind]
    model = model_class(config(**{**size, **options}))
    return Training(
        model=model,
        optimizer=torch.optim.AdamW(model.parameters(), lr=learning_rate),
        batches=batches(seed, batch_size, 32),
        num_steps=num_steps,
        rate=warmed_up(10),
    )


def batches(seed: int, batch_size: int, length: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Draw batches of the shipped plays for ever."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield draw_batch(
            text().train, block_size=length, batch_size=batch_size, generator=generator
        )


def warmed_up(num_steps: int) -> Callable[[int], float]:
    """Rise to 1 over so many steps, then stay."""
    return lambda step: min(1.0, step / num_steps)


def cosine(num_steps: int, warm_up: int = 10) -> Callable[[int], float]:
    """Rise to 1, then fall to a tenth along half a cosine."""

    def rate(step: int) -> float:
        done = max(0.0, (step - warm_up) / (num_steps - warm_up))
        return min(1.0, step / warm_up) * (0.55 + 0.45 * math.cos(math.pi * done))

    return rate
