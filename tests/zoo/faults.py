"""Faults planted in small trainings: what was done to which module, and at which step."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from backlight.learning_rules import LocalGPT
from zoo.other_trainings import Loop, experts, half_precision
from zoo.small_training import Training, local_training, transformers_training

WHOLE = ""  # the whole model


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A training with a fault in it.

    Attributes:
        training: It runs into the fault by itself.
        module: Where the fault is: the module or, if the doctor names one inside of it, a part of
            it; ``WHOLE`` for no place in particular.
        parts: Other names that are as right: what lies next to the fault.
        step: At which step it begins.
        late: By how many steps the doctor may be late: what cannot be seen in one step.
    """

    training: Training | Loop
    module: str = WHOLE
    parts: tuple[str, ...] = ()
    step: int = 1
    late: int = 0

    def finds_module(self, found: str) -> bool:
        """Check whether a module is that of the fault, or inside it."""
        inside = found == self.module or found.startswith(f"{self.module}.")
        return not found if self.module == WHOLE else inside or found in self.parts

    def finds_step(self, found: int) -> bool:
        """Check whether a step is that of the fault, or as late as it may be."""
        return self.step <= found <= self.step + self.late


@dataclass(frozen=True)
class _Place:
    """Where and when a seed plants its fault."""

    seed: int

    @property
    def layer(self) -> int:
        return self.seed % 3 + 1  # of four; not the first, which is unlike the others

    @property
    def step(self) -> int:
        return 40 + 7 * (self.seed % 5)

    @property
    def block(self) -> str:
        return f"transformer.h.{self.layer}"


def nan_in_a_weight(seed: int) -> Planted:
    """One number of one matrix becomes NaN."""
    training, place = local_training(seed), _Place(seed)
    name = f"{place.block}.mlp.c_fc"
    weight = training.model.get_parameter(f"{name}.weight")

    def hand(step: int) -> None:
        if step == place.step:
            with torch.no_grad():
                weight[3, 5] = torch.nan

    training.before_step.append(hand)
    return Planted(training=training, module=name, step=place.step)


def overflow_in_a_module(seed: int) -> Planted:
    """The output of one module overflows in the forward pass, on one batch."""
    training, place = local_training(seed), _Place(seed)
    name = f"{place.block}.ln_2"
    _after(
        training.model,
        name,
        lambda output: output * 1e38 * 1e3 if training.step == place.step else output,
    )
    return Planted(training=training, module=name, step=place.step)


def rate_of_one_block(seed: int) -> Planted:
    """One block has a learning rate that is a thousand times too high, from the start."""
    training, place = local_training(seed), _Place(seed)
    _regroup(training, place.block, 1000.0)
    return Planted(training=training, module=place.block, late=1)


def detached_branch(seed: int) -> Planted:
    """One block's attention is computed without a graph."""
    training, place = local_training(seed), _Place(seed)
    name = f"{place.block}.attn"
    _after(training.model, name, lambda output: output.detach())
    return Planted(training=training, module=name, parts=(f"{place.block}.ln_1", place.block))


def cut_graph(seed: int) -> Planted:
    """The stream is detached in front of one block, so nothing before it learns."""
    training, place = local_training(seed), _Place(seed)
    before = f"transformer.h.{place.layer - 1}"
    _after(training.model, before, lambda output: output.detach())
    return Planted(training=training, module=before, parts=(place.block,))


def dead_activation(seed: int) -> Planted:
    """The biases before one block's ReLUs are pushed far below zero."""
    training, place = local_training(seed), _Place(seed)
    model = training.model
    assert isinstance(model, LocalGPT)
    for block in model.transformer.h:
        block.mlp.gelu = nn.ReLU()
    name = f"{place.block}.mlp"

    def hand(step: int) -> None:
        if step == place.step:
            with torch.no_grad():
                model.get_parameter(f"{name}.c_fc.bias").fill_(-1e3)

    training.before_step.append(hand)
    return Planted(training=training, module=name, step=place.step)


def gradient_masked(seed: int) -> Planted:
    """A hook returns zeros for the gradient of one block's attention."""
    training, place = local_training(seed), _Place(seed)
    name = f"{place.block}.attn"

    for parameter in training.model.get_submodule(name).parameters():
        parameter.register_hook(lambda gradient: gradient * (training.step < place.step))
    return Planted(training=training, module=name, step=place.step)


def residual_scale(seed: int) -> Planted:
    """What one block's MLP adds to the stream is fifty times too large."""
    training, place = local_training(seed), _Place(seed)
    name = f"{place.block}.mlp"
    _after(training.model, name, lambda output: 50 * output)
    return Planted(training=training, module=name, parts=(place.block,), late=2)


def half_precision_underflow(seed: int) -> Planted:
    """Gradients pass through float16 with a scale that is far too small."""
    training, scale = local_training(seed), 2.0**-14

    for parameter in training.model.parameters():
        parameter.register_hook(lambda gradient: (gradient * scale).half().float() / scale)
    return Planted(training=training, late=2)


def float16_without_scaling(seed: int) -> Planted:
    """Autocast to float16 without a scaler, and a loss that was divided by a hundred thousand."""
    training = half_precision(seed)
    training.scaler, loss = None, training.loss
    training.loss = lambda step: loss(step) * 1e-5
    return Planted(training=training, late=2)


def dead_expert(seed: int) -> Planted:
    """From one step on no token is sent to one of the experts."""
    training, place = experts(seed, zeros=True, chosen=4), _Place(seed)
    name = f"{place.block}.mlp"
    favour = training.model.get_submodule(name).favour

    def hand(step: int) -> None:
        if step == place.step:
            favour[2] = -1e4

    training.before_step.append(hand)
    return Planted(training=training, module=f"{name}.experts.2", step=place.step)


def jump_after_skipped_steps(seed: int) -> Planted:
    """A gradient scaler leaves steps out; later the learning rate is 300 times as high."""
    training, place = half_precision(seed), _Place(seed)
    training.rate = lambda step: 300.0 if step >= place.step else min(1.0, step / 10)
    return Planted(training=training, step=place.step, late=2)


def label_noise(seed: int) -> Planted:
    """The targets of one batch are drawn at random."""
    training, place = local_training(seed, num_steps=120), _Place(seed + 5)
    step_of_fault = place.step + 30

    def shuffle(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        if step != step_of_fault:
            return x, y
        generator = torch.Generator().manual_seed(seed)
        return x, torch.randint(int(y.max()) + 1, y.shape, generator=generator)

    training.change_batch = shuffle
    return Planted(training=training, step=step_of_fault)


def rate_too_high(seed: int) -> Planted:
    """AdamW with a learning rate of 1."""
    return Planted(training=local_training(seed, learning_rate=1.0, warm_up=0), late=2)


def rate_too_low(seed: int) -> Planted:
    """AdamW with a learning rate of one in a hundred million."""
    return Planted(training=local_training(seed, learning_rate=1e-8), late=10)


def rate_ends(seed: int) -> Planted:
    """The schedule of the learning rate reaches zero long before the end."""
    training, place = local_training(seed), _Place(seed)
    training.rate = lambda step: max(0.0, 1 - (step - 1) / (place.step - 1))
    return Planted(training=training, step=place.step, late=2)


def rate_jumps(seed: int) -> Planted:
    """The learning rate is three hundred times as high from one step on."""
    training, place = local_training(seed), _Place(seed)
    training.rate = lambda step: 300.0 if step >= place.step else min(1.0, step / 10)
    return Planted(training=training, step=place.step, late=2)


def post_norm_without_warm_up(seed: int) -> Planted:
    """A deep post-norm model starts with its full learning rate; with a warm-up it would learn."""
    training = post_norm_training(seed, warm_up=0)
    return Planted(training=training, late=40)


def saturated_softmax(seed: int) -> Planted:
    """The query and key weights of one layer are fifty times too large."""
    training, place = transformers_training(seed), _Place(seed)
    name = f"model.layers.{place.layer}.self_attn"
    with torch.no_grad():
        training.model.get_parameter(f"{name}.q_proj.weight").mul_(50)
        training.model.get_parameter(f"{name}.k_proj.weight").mul_(50)
    return Planted(training=training, module=name, late=1)


def large_initialisation(seed: int) -> Planted:
    """All weights are drawn with a standard deviation of 1."""
    training = local_training(seed)
    _draw_again(training.model, 1.0)
    return Planted(training=training, late=2)


def small_initialisation(seed: int) -> Planted:
    """All weights are drawn with a standard deviation of 1e-5."""
    training = local_training(seed)
    _draw_again(training.model, 1e-5)
    return Planted(training=training, late=2)


def missing_from_the_optimizer(seed: int) -> Planted:
    """The optimizer was not given one block."""
    training, place = local_training(seed), _Place(seed)
    _regroup(training, place.block, None)
    return Planted(training=training, module=place.block, late=2)


def frozen_block(seed: int) -> Planted:
    """One block in the middle takes no gradient."""
    training, place = local_training(seed), _Place(seed)
    training.model.get_submodule(place.block).requires_grad_(requires_grad=False)
    return Planted(training=training, module=place.block)


def exploding_module(seed: int) -> Planted:
    """The gradient of one matrix is ten thousand times too large at one step."""
    training, place = local_training(seed), _Place(seed)
    name = f"{place.block}.mlp.c_fc"
    weight = training.model.get_parameter(f"{name}.weight")

    weight.register_hook(lambda gradient: gradient * (1e4 if training.step == place.step else 1.0))
    return Planted(training=training, module=name, step=place.step)


def loss_of_another_scale(seed: int) -> Planted:
    """The loss is a sum instead of a mean from one step on."""
    training, place = local_training(seed), _Place(seed)
    training.change_loss = lambda step, loss: loss * (256 if step >= place.step else 1)
    return Planted(training=training, step=place.step)


def gradients_never_cleared(seed: int) -> Planted:
    """The loop forgets to set gradients to zero, so they pile up."""
    training = local_training(seed)
    training.zero_grad = False
    return Planted(training=training, late=25)


def one_batch_for_ever(seed: int) -> Planted:
    """The same batch comes again and again."""
    training, kept = local_training(seed), []

    def same(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        kept.append((x, y))
        return kept[0]

    training.change_batch = same
    return Planted(training=training, late=25)


def targets_of_other_inputs(seed: int) -> Planted:
    """Targets are shuffled, so only how frequent they are can be learned."""
    training = local_training(seed, num_steps=200)

    def shuffle(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(step)
        return x, y.flatten()[torch.randperm(y.numel(), generator=generator)].view_as(y)

    training.change_batch = shuffle
    return Planted(training=training, late=70)


FAULTS: Mapping[str, Callable[[int], Planted]] = {
    fault.__name__: fault
    for fault in (
        nan_in_a_weight,
        overflow_in_a_module,
        rate_of_one_block,
        detached_branch,
        cut_graph,
        dead_activation,
        gradient_masked,
        residual_scale,
        half_precision_underflow,
        float16_without_scaling,
        dead_expert,
        jump_after_skipped_steps,
        label_noise,
        rate_too_high,
        rate_too_low,
        rate_ends,
        rate_jumps,
        post_norm_without_warm_up,
        saturated_softmax,
        large_initialisation,
        small_initialisation,
        missing_from_the_optimizer,
        frozen_block,
        exploding_module,
        loss_of_another_scale,
        gradients_never_cleared,
        one_batch_for_ever,
        targets_of_other_inputs,
    )
}
"""All kinds by name."""


def post_norm_training(seed: int, *, warm_up: int) -> Training:
    """Prepare twelve post-norm blocks, with weights that keep the size of signals."""
    training = local_training(
        seed, n_layer=12, norm_placement="post", learning_rate=3e-3, warm_up=warm_up, num_steps=160
    )
    with torch.no_grad():
        for name, parameter in training.model.named_parameters():
            if parameter.dim() > 1 and ".h." in name:
                parameter.mul_(9.0)  # from 0.02 to about 1 / sqrt(width)
    return training


def _after(model: nn.Module, name: str, change: Callable[[Tensor], Tensor]) -> None:
    module = model.get_submodule(name)
    module.register_forward_hook(lambda module, inputs, output: change(output))


def _draw_again(model: nn.Module, std: float) -> None:
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=std)


def _regroup(training: Training, block: str, factor: float | None) -> None:
    """Set another learning rate for one block, or leave the block out."""
    rate = training.optimizer.param_groups[0]["lr"]
    inside, outside = [], []
    for name, parameter in training.model.named_parameters():
        (inside if name.startswith(f"{block}.") else outside).append(parameter)
    groups = [{"params": outside, "lr": rate}]
    if factor is not None:
        groups.append({"params": inside, "lr": rate * factor})
    training.optimizer = torch.optim.AdamW(groups, lr=rate)
