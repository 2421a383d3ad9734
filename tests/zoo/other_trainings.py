"""Healthy trainings of other kinds than a language model's from scratch, each with its oddity.

Units that are off, experts that rest, adapters that begin at zero, losses that do not fall.
"""

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from backlight.learning_rules import LocalGPT
from backlight.training.log.history import History
from backlight.training.watching.watch import watch
from zoo.small_training import Training, local_training, text, warmed_up

functional = nn.functional


@dataclass(kw_only=True)
class Loop:
    """A loop whose loss may be anything.

    Attributes:
        model: What is watched.
        loss: Gives the loss of a step, counted from 1.
        num_steps: Optimizer steps.
        learning_rate: Of AdamW, unless there is an optimizer.
        optimizer: What moves the model.
        rate: The learning rate at a step, as a factor.
        after: Called after each step.
        scaler: A gradient scaler.
        clip: The largest norm of the gradient.
        tells: The loss is told to the watch.
    """

    model: nn.Module
    loss: Callable[[int], Tensor]
    num_steps: int = 150
    learning_rate: float = 2e-3
    optimizer: torch.optim.Optimizer | None = None
    rate: Callable[[int], float] = lambda step: 1.0
    after: Callable[[int], None] = lambda step: None
    scaler: torch.amp.GradScaler | None = None
    clip: float | None = None
    tells: bool = True
    options: dict[str, Any] = field(default_factory=dict)

    def watched(self) -> History:
        """Train under a watch, and give what it saw."""
        trained = [each for each in self.model.parameters() if each.requires_grad]
        optimizer = self.optimizer or torch.optim.AdamW(trained, lr=self.learning_rate)
        base = [group["lr"] for group in optimizer.param_groups]
        scaler = self.scaler or torch.amp.GradScaler("cpu", enabled=False)
        with watch(
            self.model, optimizer, schedule=1, status=False, scaler=self.scaler, **self.options
        ) as monitor:
            for step in range(1, self.num_steps + 1):
                for group, rate in zip(optimizer.param_groups, base, strict=True):
                    group["lr"] = rate * self.rate(step)
                optimizer.zero_grad()
                loss = self.loss(step)
                if self.tells:
                    monitor.loss(loss.detach().float())
                scaler.scale(loss).backward()
                if self.clip is not None:
                    scaler.unscale_(optimizer)
                    nn.utils.clip_grad_norm_(trained, self.clip)
                scaler.step(optimizer)
                scaler.update()
                self.after(step)
        return monitor.history()


def _mlp(*widths: int, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    layers: list[nn.Module] = []
    for wide, narrow in itertools.pairwise(widths):
        layers += [nn.Linear(wide, narrow), activation()]
    return nn.Sequential(*layers[:-1])


def relu_regression(seed: int) -> Loop:
    """ReLU units learn what another network says."""
    torch.manual_seed(seed)
    teacher, model = _mlp(16, 32, 4), _mlp(16, 64, 64, 64, 64, 4)

    def loss(step: int) -> Tensor:
        x = torch.randn(64, 16)
        return functional.mse_loss(model(x), 5 * teacher(x).detach())

    return Loop(model=model, loss=loss)


def full_batch(seed: int) -> Loop:
    """All data in every step, until next to nothing is left of the loss."""
    torch.manual_seed(seed)
    model, x = _mlp(2, 32, 32, 1, activation=nn.Tanh), torch.rand(128, 2)
    y = (3 * x).sin().sum(dim=1, keepdim=True)
    return Loop(
        model=model,
        loss=lambda step: functional.mse_loss(model(x), y),
        num_steps=300,
        learning_rate=5e-3,
    )


def discriminator(seed: int) -> Loop:
    """A ReLU discriminator, half of whose units are off."""
    torch.manual_seed(seed)
    model = _mlp(2, 16, 1)
    return Loop(
        model=model,
        loss=lambda step: _real_or_not(model, torch.randn(32, 2) + 2, torch.randn(32, 2) * 0.3),
        num_steps=60,
        learning_rate=1e-3,
    )


def _real_or_not(model: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    wanted = torch.cat([torch.ones(len(real), 1), torch.zeros(len(fake), 1)])
    return functional.binary_cross_entropy_with_logits(model(torch.cat([real, fake])), wanted)


def _gan(seed: int, *, watch_generator: bool) -> Loop:
    torch.manual_seed(seed)
    maker, judge = _mlp(8, 32, 32, 2), _mlp(2, 32, 32, 1)
    other = torch.optim.Adam((judge if watch_generator else maker).parameters(), 2e-3, (0.5, 0.9))
    angles = torch.arange(8) * (2 * math.pi / 8)
    centres = 2 * torch.stack([angles.cos(), angles.sin()], dim=1)

    def of_judge() -> Tensor:
        real = centres[torch.randint(8, (64,))] + 0.1 * torch.randn(64, 2)
        return _real_or_not(judge, real, maker(torch.randn(64, 8)).detach())

    def of_maker() -> Tensor:
        judged = judge(maker(torch.randn(64, 8)))
        return functional.binary_cross_entropy_with_logits(judged, torch.ones(64, 1))

    def move_other(step: int) -> None:
        other.zero_grad()
        (of_judge() if watch_generator else of_maker()).backward()
        other.step()

    own = maker if watch_generator else judge
    return Loop(
        model=own,
        loss=lambda step: of_maker() if watch_generator else of_judge(),
        optimizer=torch.optim.Adam(own.parameters(), 2e-3, (0.5, 0.9)),
        after=move_other,
        num_steps=300,
    )


class SparseCode(nn.Module):
    """A sparse autoencoder: ReLU and a penalty, or the largest few."""

    def __init__(self, width: int, size: int, largest: int | None = None) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(width, size), nn.Linear(size, width)
        self.largest = largest

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        code = self.encoder(x).relu()
        if self.largest is not None:
            values, places = code.topk(self.largest)
            code = torch.zeros_like(code).scatter(-1, places, values)
        return self.decoder(code), code


def sparse_autoencoder(seed: int, *, largest: int | None = None, penalty: float = 0.01) -> Loop:
    """Few of many units are on for a number."""
    torch.manual_seed(seed)
    model, features = SparseCode(24, 192, largest), functional.normalize(torch.randn(64, 24))

    def loss(step: int) -> Tensor:
        x = (torch.rand(64, 64) * (torch.rand(64, 64) < 0.05)) @ features
        found, code = model(x)
        return (found - x).square().sum(-1).mean() + penalty * code.sum(-1).mean()

    return Loop(model=model, loss=loss)


class LowRank(nn.Module):
    """A frozen linear map and a low-rank one that begins at zero."""

    def __init__(self, base: nn.Linear, rank: int = 4) -> None:
        super().__init__()
        self.base = base.requires_grad_(requires_grad=False)
        self.lora_A = nn.Linear(base.in_features, rank, bias=False)
        self.lora_B = nn.Linear(rank, base.out_features, bias=False)
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + 2.0 * self.lora_B(self.lora_A(x))


def low_rank(seed: int, *, num_steps: int = 120, from_zero: bool = False) -> Training:
    """Low-rank adapters in a GPT that has learned already; the rest is frozen."""
    training = _trained(seed, num_steps)
    model = training.model
    model.requires_grad_(requires_grad=False)
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and ".h." in name:
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, LowRank(module))
    adapters = [each for each in model.parameters() if each.requires_grad]
    training.optimizer = torch.optim.AdamW(adapters, lr=2e-3)
    training.rate = (lambda step: min(1.0, (step - 1) / 10)) if from_zero else None
    return training


def _trained(seed: int, num_steps: int, before: int = 60) -> Training:
    training = local_training(seed, num_steps=before)
    training.go()
    training.num_steps, training.rate = num_steps, None
    return training


def last_block_only(seed: int) -> Training:
    """Fine-tuning of the last block and the head; everything else is frozen."""
    training = _trained(seed, 100)
    model = training.model
    assert isinstance(model, LocalGPT)
    model.requires_grad_(requires_grad=False)
    model.transformer.h[-1].requires_grad_(requires_grad=True)
    model.transformer.ln_f.requires_grad_(requires_grad=True)
    chosen = [each for each in model.parameters() if each.requires_grad]
    training.optimizer = torch.optim.AdamW(chosen, lr=1e-3)
    return training


def continued(seed: int) -> Training:
    """A model that has learned goes on at a small rate: its loss hardly falls."""
    training = _trained(seed, 120, before=150)
    training.optimizer = torch.optim.AdamW(training.model.parameters(), lr=1e-4)
    return training


def policy_gradient(seed: int, *, penalty: float = 0.0, positive: bool = False) -> Loop:
    """A character model is rewarded for vowels; advantages are relative to a group."""
    torch.manual_seed(seed)
    start = local_training(seed, num_steps=60)
    start.go()
    model, characters = start.model, text()
    assert isinstance(model, LocalGPT)
    vowels = torch.tensor([each in "aeiou" for each in characters.vocabulary]).float()

    def loss(step: int) -> Tensor:
        ids = torch.full((16, 1), int(characters.train[int(torch.randint(1000, ()))]))
        with torch.no_grad():
            for _ in range(12):
                drawn = torch.multinomial(model(ids)[0][:, -1].softmax(-1), 1)
                ids = torch.cat([ids, drawn], dim=1)
        reward = vowels[ids[:, 1:]].mean(dim=1)
        advantage = (reward - reward.mean()) / (reward.std() + 1e-4)
        logs = model(ids[:, :-1])[0].log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
        ratio = (logs - logs.detach()).exp()
        surrogate = -(ratio * advantage[:, None]).mean()
        value = 0.5 * reward.var() * 10 if positive else 0.0
        return surrogate + penalty * (0.1 * step / 100) + value

    return Loop(
        model=model, loss=loss, num_steps=80, learning_rate=5e-4, options={"loss_of": _none}
    )


def _none(output: object) -> None:
    del output


class Experts(nn.Module):
    """A router and experts, of which a token sees few; as modules, or as one tensor."""

    def __init__(self, width: int, number: int, chosen: int, *, fused: bool, skew: float) -> None:
        super().__init__()
        self.router = nn.Linear(width, number, bias=False)
        self.register_buffer("favour", -skew * torch.arange(number).float())
        self.chosen, self.fused = chosen, fused
        if fused:
            self.up = nn.Parameter(0.1 * torch.randn(number, width, 2 * width))
            self.down = nn.Parameter(0.1 * torch.randn(number, 2 * width, width))
        else:
            self.experts = nn.ModuleList(_mlp(width, 2 * width, width) for _ in range(number))

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(0, -2)
        scores, places = (self.router(flat) + self.favour).softmax(-1).topk(self.chosen)
        total = torch.zeros_like(flat)
        for number in range(self.router.out_features):
            rows, slots = (places == number).nonzero(as_tuple=True)
            if not self.fused and not len(rows):
                continue
            mine = flat[rows]
            made = (
                (mine @ self.up[number]).relu() @ self.down[number]
                if self.fused
                else self.experts[number](mine)
            )
            total = total.index_add(0, rows, made * scores[rows, slots, None])
        return total.view_as(x)


def experts(
    seed: int, *, fused: bool = False, skew: float = 0.0, zeros: bool = False, chosen: int = 2
) -> Training:
    """A GPT with eight experts in each block; some are chosen seldom.

    With ``zeros``, the gradient of an expert that rests is a tensor of zeros instead of none.
    """
    training = local_training(seed, num_steps=120, batch_size=4)
    model = training.model
    assert isinstance(model, LocalGPT)
    for block in model.transformer.h:
        block.mlp = Experts(32, 8, chosen, fused=fused, skew=skew)
    training.optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    if zeros:
        training.change_loss = lambda step, loss: (
            loss + sum(0.0 * each.sum() for each in model.parameters())
        )
    return training


def density(seed: int) -> Loop:
    """The logarithm of a density, which becomes negative as it learns."""
    torch.manual_seed(seed)
    model = _mlp(2, 64, 64, 4, activation=nn.Tanh)

    def loss(step: int) -> Tensor:
        x = torch.rand(64, 2)
        y = x.flip(1).sin() + 0.02 * torch.randn(64, 2)
        mean, log_std = model(x).chunk(2, dim=-1)
        return (log_std + 0.5 * ((y - mean) / log_std.exp()).square()).sum(-1).mean()

    return Loop(model=model, loss=loss, num_steps=400, clip=5.0)


class Variational(nn.Module):
    """A variational autoencoder."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = _mlp(16, 32, 8), _mlp(4, 32, 16)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_var = self.encoder(x).chunk(2, dim=-1)
        code = mean + (0.5 * log_var).exp() * torch.randn_like(mean)
        away = 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum(-1).mean()
        return (self.decoder(code) - x).square().sum(-1).mean(), away


def variational(seed: int) -> Loop:
    """The weight of a part of the loss rises from zero, and so may the loss."""
    torch.manual_seed(seed)
    model, mixing = Variational(), torch.randn(4, 16)

    def loss(step: int) -> Tensor:
        wrong, away = model(torch.randn(64, 4) @ mixing)
        return wrong + min(1.0, max(0.0, (step - 60) / 60)) * away

    return Loop(model=model, loss=loss, num_steps=200)


def contrastive(seed: int) -> Loop:
    """Pairs among others, whose number grows: the loss grows with its logarithm."""
    torch.manual_seed(seed)
    model = _mlp(16, 64, 16)

    def loss(step: int) -> Tensor:
        size = 16 * 2 ** (step // 50)
        x = torch.randn(size, 16)
        first, second = (model(x + 0.3 * torch.randn_like(x)) for _ in range(2))
        scores = functional.normalize(first) @ functional.normalize(second).T / 0.2
        return functional.cross_entropy(scores, torch.arange(size))

    return Loop(model=model, loss=loss, num_steps=200)


def distillation(seed: int) -> Loop:
    """A small network learns what a larger one thinks of all answers."""
    torch.manual_seed(seed)
    teacher, model = _mlp(16, 64, 20), _mlp(16, 32, 32, 20)

    def loss(step: int) -> Tensor:
        x = 2 * torch.randn(64, 16)
        wanted = (8 * teacher(x)).detach().log_softmax(-1)
        return functional.kl_div(
            model(x).log_softmax(-1), wanted, log_target=True, reduction="batchmean"
        )

    return Loop(model=model, loss=loss)


def curriculum(seed: int) -> Training:
    """More and more letters of a text are replaced by others, so the loss rises in the end."""
    training = local_training(seed, num_steps=200)
    generator = torch.Generator().manual_seed(seed)

    def harder(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        replaced = torch.rand(y.shape, generator=generator) < max(0.0, step - 60) / 800
        others = torch.randint(int(y.max()), y.shape, generator=generator)
        return x, torch.where(replaced, others, y)

    training.change_batch = harder
    return training


def half_precision(seed: int, *, dtype: torch.dtype = torch.float16) -> Loop:
    """Autocast, and for float16 a gradient scaler, which first looks for its factor."""
    training = local_training(seed)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**24, growth_interval=40)

    def loss(step: int) -> Tensor:
        x, y = next(training.batches)
        with torch.autocast("cpu", dtype):
            return training.model(x, y)[1]

    return Loop(
        model=training.model,
        loss=loss,
        num_steps=80,
        rate=warmed_up(10),
        scaler=scaler if dtype == torch.float16 else None,
        tells=False,
    )


def relu_in_half(seed: int) -> Loop:
    """ReLU units in float16: zeros of units that are off, and a floor far below all others."""
    torch.manual_seed(seed)
    teacher, model = _mlp(16, 32, 4), _mlp(16, 64, 64, 64, 4)

    def loss(step: int) -> Tensor:
        x = torch.randn(64, 16)
        with torch.autocast("cpu", torch.float16):
            found = model(x)
        return functional.mse_loss(found.float(), 5 * teacher(x).detach())

    return Loop(model=model, loss=loss, scaler=torch.amp.GradScaler("cpu", init_scale=2.0**14))


def pixels(seed: int) -> Loop:
    """Convolutions of growing width, as in most models of pictures."""
    torch.manual_seed(seed)
    widths, layers = (1, 8, 16, 32, 64), list[nn.Module]()
    for before, after in itertools.pairwise(widths):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64, 4))

    def loss(step: int) -> Tensor:
        wanted = torch.randint(4, (32,))
        x = 0.5 * torch.randn(32, 1, 16, 16)
        x[:, :, ::2] += (wanted % 2)[:, None, None, None]
        x[:, :, :, ::2] += (wanted // 2)[:, None, None, None]
        return functional.cross_entropy(model(x), wanted)

    return Loop(model=model, loss=loss, num_steps=80)


def bottleneck(seed: int) -> Loop:
    """An autoencoder whose layers have all widths from wide to narrow."""
    torch.manual_seed(seed)
    model = _mlp(256, 128, 32, 8, 32, 128, 256)
    mixing = torch.randn(6, 256)

    def loss(step: int) -> Tensor:
        x = torch.randn(64, 6) @ mixing
        return functional.mse_loss(model(x), x)

    return Loop(model=model, loss=loss)


def bag_of_words(seed: int) -> Loop:
    """The input counts words, most of which never occur in a batch."""
    torch.manual_seed(seed)
    model, weights = _mlp(500, 64, 64, 64, 64, 2), torch.randn(500)

    def loss(step: int) -> Tensor:
        words = (500 * torch.rand(16, 8) ** 3).long()
        x = torch.zeros(16, 500).scatter_add(1, words, torch.ones(16, 8))
        return functional.cross_entropy(model(x), ((x @ weights) > 0).long())

    return Loop(model=model, loss=loss)


class Branches(nn.Module):
    """Residual branches whose gates begin at zero, some of which are dropped at random."""

    def __init__(self, *, dropped: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_mlp(32, 64, 32) for _ in range(6))
        self.gates = nn.Parameter(torch.zeros(6))
        self.head, self.dropped = nn.Linear(32, 4), dropped

    def forward(self, x: Tensor) -> Tensor:
        for gate, block in zip(self.gates, self.blocks, strict=True):
            if torch.rand(()) >= self.dropped:
                x = x + gate * block(x)
        return self.head(x)


def gated(seed: int, *, dropped: float = 0.0) -> Loop:
    """ReZero, with or without layers that are left out now and then."""
    torch.manual_seed(seed)
    model, teacher = Branches(dropped=dropped), _mlp(32, 64, 4)

    def loss(step: int) -> Tensor:
        x = torch.randn(64, 32)
        return functional.mse_loss(model(x), 4 * teacher(x).detach())

    return Loop(model=model, loss=loss)


def two_rates(seed: int) -> Loop:
    """A body that was learned before moves slowly, a new head a hundred times faster."""
    torch.manual_seed(seed)
    model = _mlp(32, 32, 32, 32, 32, 32)
    teacher = _mlp(32, 64, 32)
    groups = [
        {"params": model[:-1].parameters(), "lr": 3e-5},
        {"params": model[-1].parameters(), "lr": 3e-3},
    ]

    def loss(step: int) -> Tensor:
        x = torch.randn(64, 32)
        return functional.mse_loss(model(x), 4 * teacher(x).detach())

    return Loop(model=model, loss=loss, optimizer=torch.optim.AdamW(groups))


def second_task_later(seed: int) -> Loop:
    """A head whose part of the loss counts from step 60 on."""
    torch.manual_seed(seed)
    model = nn.ModuleDict(
        {"body": _mlp(16, 64, 64), "one": _mlp(64, 32, 4), "two": _mlp(64, 32, 4)}
    )
    teacher = _mlp(16, 32, 8)

    def loss(step: int) -> Tensor:
        x = torch.randn(64, 16)
        hidden, wanted = model["body"](x), 4 * teacher(x).detach()
        first = functional.mse_loss(model["one"](hidden), wanted[:, :4])
        second = functional.mse_loss(model["two"](hidden), wanted[:, 4:])
        return first + (step > 60) * second

    return Loop(model=model, loss=loss)


def values(seed: int) -> Loop:
    """What rewards add up to is learned from its own estimate, which grows, and errors with it."""
    torch.manual_seed(seed)
    model, target = _mlp(4, 64, 64, 2), _mlp(4, 64, 64, 2)

    def loss(step: int) -> Tensor:
        if step % 20 == 1:
            target.load_state_dict(model.state_dict())
        state, action = torch.randn(64, 4), torch.randint(2, (64,))
        after = 0.9 * state + 0.3 * (2 * action[:, None] - 1)
        reward = 1.0 + (after.sum(dim=1) > 0)
        wanted = reward + 0.97 * target(after).max(dim=1).values.detach()
        found = model(state).gather(1, action[:, None])[:, 0]
        return functional.mse_loss(found, wanted)

    return Loop(model=model, loss=loss, num_steps=300)


def preferences(seed: int) -> Loop:
    """Pairs of answers: the loss begins at the logarithm of two and falls slowly."""
    torch.manual_seed(seed)
    start = local_training(seed, num_steps=60)
    start.go()
    model = start.model
    reference = local_training(seed, num_steps=1).model
    reference.load_state_dict(model.state_dict())

    def log_probability(judge: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return judge(x)[0].log_softmax(-1).gather(-1, y[..., None]).sum((1, 2))

    def loss(step: int) -> Tensor:
        x, y = next(start.batches)
        other = y.flip(0)
        with torch.no_grad():
            known = log_probability(reference, x, y) - log_probability(reference, x, other)
        own = log_probability(model, x, y) - log_probability(model, x, other)
        return -functional.logsigmoid(0.1 * (own - known)).mean()

    return Loop(
        model=model, loss=loss, num_steps=60, learning_rate=2e-5, options={"loss_of": _none}
    )


def seldom_tokens(seed: int) -> Loop:
    """Rows of a table of embeddings that never occur, and those that do as a sparse gradient."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Embedding(1000, 16, sparse=True), nn.Linear(16, 16), nn.Linear(16, 50))

    def loss(step: int) -> Tensor:
        ids = (50 * torch.rand(64) ** 2).long()
        return functional.cross_entropy(model(ids), (3 * ids + 7) % 50)

    return Loop(model=model, loss=loss, optimizer=torch.optim.SGD(model.parameters(), lr=0.5))


def scheduled(seed: int, *, num_steps: int, rate: Callable[[int], float]) -> Training:
    """The small GPT under a schedule of the learning rate."""
    training = local_training(seed, num_steps=num_steps)
    training.rate = rate
    return training


def restarts(step: int) -> float:
    """Fall along a cosine to zero, and begin again every fifty steps."""
    return 0.5 + 0.5 * math.cos(math.pi * ((step - 1) % 50) / 49)


OTHERS: Mapping[str, Callable[[int], Any]] = {
    "ReLU units": relu_regression,
    "ReLU discriminator": discriminator,
    "GAN, generator": partial(_gan, watch_generator=True),
    "GAN, discriminator": partial(_gan, watch_generator=False),
    "sparse autoencoder, L1": sparse_autoencoder,
    "sparse autoencoder, top 4": partial(sparse_autoencoder, largest=4, penalty=0.0),
    "bag of words": bag_of_words,
    "LoRA": low_rank,
    "LoRA, rate from zero": partial(low_rank, from_zero=True),
    "LoRA, three steps": partial(low_rank, num_steps=3),
    "last block only": last_block_only,
    "continued at a low rate": continued,
    "policy gradient": policy_gradient,
    "policy gradient, growing penalty": partial(policy_gradient, penalty=1.0),
    "action values": values,
    "preferences": preferences,
    "experts": experts,
    "experts, skewed": partial(experts, skew=0.05),
    "experts, skewed, zeros for None": partial(experts, skew=0.05, zeros=True),
    "experts, one of eight": partial(experts, chosen=1, zeros=True),
    "experts in one tensor": partial(experts, fused=True),
    "density": density,
    "VAE, KL from zero": variational,
    "contrastive, growing batch": contrastive,
    "distillation": distillation,
    "curriculum": curriculum,
    "float16, scaler": half_precision,
    "float16, ReLU": relu_in_half,
    "bfloat16": partial(half_precision, dtype=torch.bfloat16),
    "convolutions": pixels,
    "bottleneck": bottleneck,
    "gates from zero": gated,
    "layers dropped at random": partial(gated, dropped=0.4),
    "two learning rates": two_rates,
    "a second task later": second_task_later,
    "full batch": full_batch,
    "sparse embeddings": seldom_tokens,
    "three steps": partial(scheduled, num_steps=3, rate=lambda step: 1.0),
    "cosine to zero": partial(
        scheduled,
        num_steps=120,
        rate=lambda step: (
            min(1.0, (step - 1) / 10) * 0.5 * (1 + math.cos(math.pi * step / 118))
            if step <= 118
            else 0.0
        ),
    ),
    "rate waits at zero": partial(
        scheduled, num_steps=120, rate=lambda step: min(1.0, max(0.0, (step - 6) / 10))
    ),
    "warm restarts": partial(scheduled, num_steps=200, rate=restarts),
}
"""Kinds by name; each takes a seed."""
