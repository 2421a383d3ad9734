"""All symptoms: what each makes of a run, its likely cause, what to try, and what it explains."""

from collections.abc import Mapping
from dataclasses import dataclass

from backlight.training.doctor.findings import Finding, Place, Severity, Verdict

_LOSS = ("loss_flat", "loss_plateau", "loss_spike", "loss_rises", "loss_non_finite")
_SIZES = (
    *("vanishing_with_depth", "exploding_with_depth", "layer_gradient_large"),
    *("layer_gradient_small", "gradient_tiny", "gradient_large", "gradient_huge"),
    *("gradient_spike", "always_clipped"),
)
_DEATHS = ("zero_gradient", "dead_units", "underflow")
_RATES = ("update_large", "rate_jump", "layer_update_large", "layer_update_small", "rounded_away")
_WEIGHTS = ("saturated_softmax", "layer_weights_large", "layer_weights_small")


@dataclass(frozen=True, slots=True, kw_only=True)
class Symptom:
    """A kind of finding.

    Attributes:
        title: What it is, in plain words.
        verdict: What it makes of a run.
        severity: How bad it is.
        cause: What it likely comes from.
        remedy: What to try.
        explains: The symptoms that it brings along; one of these that begins no earlier is told
            as its consequence.
    """

    title: str
    verdict: Verdict
    severity: Severity = "error"
    cause: str
    remedy: str
    explains: tuple[str, ...] = ()


SYMPTOMS: Mapping[str, Symptom] = {
    "non_finite": Symptom(
        title="NaN or infinity",
        verdict="non-finite",
        cause="numbers that leave the range of their format: a division by zero, the logarithm or "
        "root of what is not positive, very large inputs of a softmax, an overflow in half "
        "precision, or a step that was much too large just before.",
        remedy="look at the module that is named, on the batch of that step; lower the learning "
        "rate or clip the gradient if norms rose before; compute norms, softmax and loss in "
        "float32.",
        explains=(*_LOSS, *_SIZES, *_DEATHS, *_RATES, *_WEIGHTS, "non_finite", "rate_zero"),
    ),
    "cut_graph": Symptom(
        title="the graph is cut",
        verdict="dead",
        cause="a detach(), a no_grad() or a conversion to numpy between this module and the loss; "
        "everything from the input up to here gets no gradient.",
        remedy="find what stands between this module and the next, and let the tensor keep its "
        "graph; if it is meant, freeze the parameters (requires_grad_(False)).",
        explains=("no_gradient", *_LOSS),
    ),
    "no_gradient": Symptom(
        title="no gradient arrives",
        verdict="dead",
        cause="the module's output is detached or not used for the loss, while its siblings' is.",
        remedy="look for detach(), no_grad(), an early return or a wrong index around this module; "
        "if it is meant, freeze its parameters (requires_grad_(False)).",
        explains=_LOSS,
    ),
    "frozen": Symptom(
        title="frozen among parameters that train",
        verdict="dead",
        severity="warning",
        cause="requires_grad is False here, while the same parameters of blocks before and after "
        "it train.",
        remedy="call requires_grad_(True) before the optimizer is made, unless it is meant.",
    ),
    "never_moves": Symptom(
        title="it has a gradient and never moves",
        verdict="dead",
        cause="the optimizer was not given these parameters, or their group has a learning rate "
        "of zero.",
        remedy="make the optimizer from model.parameters() after the model is complete (after "
        "layers were added, replaced or unfrozen).",
        explains=(*_LOSS, *_SIZES, "gradients_pile_up"),
    ),
    "rounded_away": Symptom(
        title="updates are rounded away",
        verdict="dead",
        severity="warning",
        cause="these weights never change, though they have a gradient and others move: in "
        "bfloat16, an update of less than about 1/256 of a weight is lost.",
        remedy="keep weights in float32 (autocast computes in bfloat16 all the same), or use an "
        "optimizer with stochastic rounding.",
    ),
    "rate_zero": Symptom(
        title="nothing moves any more",
        verdict="dead",
        cause="the learning rate is zero: the schedule has ended before the training.",
        remedy="give the schedule as many steps as the training has (optimizer steps, not "
        "micro-batches), or end above zero.",
        explains=_LOSS,
    ),
    "zero_gradient": Symptom(
        title="the gradient is exactly zero",
        verdict="dead",
        cause="nothing passes here: activations that are off for every input (ReLU below zero), a "
        "mask or a multiplication by zero, or an expert that is never chosen.",
        remedy="look at what goes into the activation; lower the learning rate, draw biases and "
        "weights anew, or use an activation that leaks (GELU, leaky ReLU).",
        explains=(*_LOSS, "dead_units", "layer_update_small", "layer_weights_small"),
    ),
    "dead_units": Symptom(
        title="many units get no gradient",
        verdict="dead",
        severity="warning",
        cause="more than half of the entries are exactly zero here and hardly any in the same "
        "place of other blocks: units that no input switches on.",
        remedy="lower the learning rate; look at biases that were pushed far below zero.",
    ),
    "underflow": Symptom(
        title="small gradients are rounded to zero",
        verdict="vanishing",
        cause="half precision: what is below 6e-8 in float16 becomes zero (the scale of the loss "
        "moves this limit), and the loss is not scaled up enough.",
        remedy="scale the loss (torch.amp.GradScaler), or compute in bfloat16, which has the range "
        "of float32.",
        explains=(*_LOSS, "zero_gradient", "dead_units", "layer_gradient_small"),
    ),
    "layer_update_large": Symptom(
        title="it moves much faster than the rest",
        verdict="unstable",
        cause="a learning rate of its own that is far too high (a parameter group, a multiplier), "
        "or weights that are far too small.",
        remedy="compare the learning rates of the optimizer's parameter groups.",
        explains=(*_LOSS, *_SIZES, *_DEATHS, *_WEIGHTS, *_RATES),
    ),
    "layer_update_small": Symptom(
        title="it moves much more slowly than the rest",
        verdict="vanishing",
        severity="warning",
        cause="a learning rate of its own that is far too low, or weights that are far too large.",
        remedy="compare the learning rates of the optimizer's parameter groups.",
    ),
    "rate_jump": Symptom(
        title="updates jump",
        verdict="unstable",
        cause="the learning rate was raised at once: a schedule that was restored wrongly, counts "
        "other steps, or switches between groups.",
        remedy="print the learning rate around this step; continue from a checkpoint before it.",
        explains=(*_LOSS, *_SIZES, *_DEATHS, *_WEIGHTS, "update_large", "layer_update_large"),
    ),
    "update_large": Symptom(
        title="each step replaces the weights",
        verdict="unstable",
        cause="the learning rate is much too high.",
        remedy="lower the learning rate by a factor of 10 to 100, until updates are about a "
        "thousandth of the weights; let it warm up.",
        explains=(*_LOSS, *_SIZES, *_DEATHS, *_RATES, *_WEIGHTS),
    ),
    "update_tiny": Symptom(
        title="the weights hardly move",
        verdict="vanishing",
        cause="the learning rate is too low.",
        remedy="raise the learning rate until updates are about a thousandth of the weights "
        "(one in ten thousand for fine-tuning).",
        explains=("loss_flat", "loss_plateau", "rounded_away"),
    ),
    "large_initialisation": Symptom(
        title="the weights are too large at the start",
        verdict="exploding",
        cause="initialisation: with such weights signals grow from layer to layer, softmax "
        "saturates, and the first guess is confidently wrong.",
        remedy="draw weights with a standard deviation of sqrt(2 / (fan_in + fan_out)) (Glorot), "
        "sqrt(2 / fan_in) before ReLU (He), or 0.02, and 0.02 / sqrt(2 layers) where the "
        "residual stream is added to (GPT-2).",
        explains=(*_LOSS, *_SIZES, *_DEATHS, *_RATES, *_WEIGHTS, "update_tiny"),
    ),
    "small_initialisation": Symptom(
        title="the weights are too small at the start",
        verdict="vanishing",
        cause="initialisation: with such weights signals and gradients fade from layer to layer, "
        "and the first updates are larger than the weights.",
        remedy="draw weights with a standard deviation of sqrt(2 / (fan_in + fan_out)) (Glorot), "
        "sqrt(2 / fan_in) before ReLU (He), or 0.02 (GPT-2).",
        explains=(*_LOSS, *_SIZES, *_DEATHS, *_RATES, *_WEIGHTS, "no_warm_up"),
    ),
    "saturated_softmax": Symptom(
        title="weights that saturate the softmax",
        verdict="vanishing",
        cause="the weights that make queries or keys are far larger than in other layers: scores "
        "are large, one weight takes all, and the softmax passes no gradient to the scores.",
        remedy="scale the weights down, check the division by sqrt(head width), normalise queries "
        "and keys; `backlight flow --view attention` shows which heads are saturated.",
        explains=(*_LOSS, *_SIZES, "layer_update_small", "layer_weights_large", "dead_units"),
    ),
    "layer_weights_large": Symptom(
        title="its weights are far larger than its siblings'",
        verdict="exploding",
        cause="another initialisation than its siblings, or growth by steps that were too large.",
        remedy="initialise it as its siblings; use weight decay; compare learning rates.",
        explains=(*_LOSS, *_SIZES, *_DEATHS, "layer_update_small"),
    ),
    "layer_weights_small": Symptom(
        title="its weights are far smaller than its siblings'",
        verdict="vanishing",
        cause="another initialisation than its siblings, or weight decay without a gradient.",
        remedy="initialise it as its siblings; look at whether its gradient arrives.",
        explains=(*_LOSS, *_SIZES, "layer_update_large"),
    ),
    "layer_gradient_large": Symptom(
        title="its gradient is far larger than its siblings'",
        verdict="exploding",
        cause="what this module gives is multiplied by a large number on its way (a wrong scale of "
        "its residual branch), or a hook changes its gradient.",
        remedy="compare how its output is scaled and added with the other blocks; scale residual "
        "branches by 1/sqrt(number of layers).",
        explains=(*_LOSS, *_SIZES),
    ),
    "layer_gradient_small": Symptom(
        title="its gradient is far smaller than its siblings'",
        verdict="vanishing",
        cause="what this module gives is multiplied by a small number on its way (a wrong scale of "
        "its residual branch, a closed gate), or its activations are saturated.",
        remedy="compare how its output is scaled and added with the other blocks.",
        explains=(*_LOSS, "layer_gradient_small"),
    ),
    "no_warm_up": Symptom(
        title="the gradient fades in the first steps",
        verdict="vanishing",
        cause="a missing warm-up: the learning rate has its full height from the first step on, "
        "which deep post-norm models (Xiong et al. 2020) do not bear.",
        remedy="let the learning rate rise over the first few hundred steps, or move norms into "
        "the branches (pre-norm).",
        explains=(*_LOSS, *_SIZES, *_DEATHS, *_RATES, *_WEIGHTS),
    ),
    "vanishing_with_depth": Symptom(
        title="the gradient vanishes on its way to the input",
        verdict="vanishing",
        cause="every layer passes on less than it gets: saturating activations, small weights, no "
        "residual connections, or norms in the residual stream (post-norm).",
        remedy="add residual connections or move norms into the branches (pre-norm), use "
        "activations that do not saturate, initialise for the fan-in.",
        explains=(*_LOSS, "gradient_tiny", "layer_gradient_small", "layer_gradient_large"),
    ),
    "exploding_with_depth": Symptom(
        title="the gradient explodes on its way to the input",
        verdict="exploding",
        cause="every layer passes on more than it gets: weights that are too large, or a residual "
        "stream that is scaled in every block.",
        remedy="initialise for the fan-in, scale residual branches by 1/sqrt(number of layers), "
        "clip the gradient.",
        explains=(
            *(*_LOSS, "gradient_large", "gradient_huge", "layer_gradient_large"),
            "always_clipped",
        ),
    ),
    "gradient_tiny": Symptom(
        title="the whole gradient is next to nothing",
        verdict="vanishing",
        cause="saturated outputs, a loss that is scaled down, or nothing left to learn.",
        remedy="look at the loss and its scale; with Adam, an epsilon (1e-8) above the gradient "
        "stops learning.",
        explains=_LOSS,
    ),
    "gradient_huge": Symptom(
        title="the whole gradient is enormous",
        verdict="exploding",
        cause="a loss that is summed instead of averaged, or signals that grow from layer to "
        "layer.",
        remedy="average the loss over tokens; clip the gradient; lower the learning rate.",
        explains=(*_LOSS, "gradient_large", "always_clipped"),
    ),
    "gradient_large": Symptom(
        title="the gradient is large",
        verdict="exploding",
        severity="warning",
        cause="a loss that is summed instead of averaged, or weights that are too large; with Adam "
        "and clipping it may do no harm.",
        remedy="clip the gradient (clip_grad_norm_), average the loss over tokens.",
    ),
    "gradients_pile_up": Symptom(
        title="gradients are never cleared",
        verdict="exploding",
        cause="optimizer.zero_grad() is missing from the loop, or clears other parameters.",
        remedy="call optimizer.zero_grad() (or model.zero_grad()) once in every optimizer step.",
        explains=(*_LOSS, *_SIZES),
    ),
    "loss_spike": Symptom(
        title="the loss jumps for a moment",
        verdict="unstable",
        cause="a batch that is unlike the others (wrong labels, damaged text), or a step that was "
        "too large just before.",
        remedy="look at the batch of this step; clip the gradient; lower the learning rate if it "
        "happens again.",
        explains=(*_LOSS, *_SIZES),
    ),
    "gradient_spike": Symptom(
        title="the gradient explodes at once",
        verdict="exploding",
        cause="a batch that is unlike the others, a step that was too large just before, a loss "
        "on another scale, or a module that fails on one input.",
        remedy="clip the gradient (clip_grad_norm_, at about the usual norm); look at the batch of "
        "this step; lower the learning rate if it happens again.",
        explains=(*_LOSS, *_SIZES, *_RATES, *_WEIGHTS, *_DEATHS),
    ),
    "always_clipped": Symptom(
        title="the gradient is always clipped, and by much",
        verdict="exploding",
        severity="warning",
        cause="the limit is far below the usual norm, so it sets the size of every step.",
        remedy="raise the limit to between half and ten times the usual norm (Pascanu et al. "
        "2013), or mean it: with Adam it hardly matters.",
    ),
    "loss_non_finite": Symptom(
        title="the loss is NaN or infinite",
        verdict="non-finite",
        cause="very large inputs of a softmax or a logarithm of zero in the loss itself, an "
        "explosion of the gradient, or a learning rate that is too high.",
        remedy="clip the gradient, lower the learning rate, compute the loss in float32 from "
        "logits.",
        explains=("loss_rises", "loss_spike", "loss_plateau", "loss_flat"),
    ),
    "loss_rises": Symptom(
        title="the loss rises again",
        verdict="unstable",
        cause="the learning rate is too high, or the data changed.",
        remedy="lower the learning rate, or let it fall; look at the order of the data; go on from "
        "a checkpoint before this step.",
        explains=("loss_plateau", "loss_spike", "gradient_large", "gradient_huge"),
    ),
    "loss_flat": Symptom(
        title="the loss stays flat",
        verdict="unstable",
        cause="gradients and updates are of a normal size, so what is learned does not help: "
        "targets that do not belong to the inputs, or a loss of something else.",
        remedy="try to learn one batch by heart; look at inputs and targets side by side.",
    ),
    "loss_plateau": Symptom(
        title="the loss stops falling early",
        verdict="unstable",
        severity="warning",
        cause="all that can be learned is learned, or: targets that do not belong to the inputs, "
        "a learning rate that fell too early or is too high, a missing warm-up, or a gradient that "
        "vanishes in deep layers.",
        remedy="look at the learning rate's schedule; try to learn one batch by heart.",
    ),
    "one_batch": Symptom(
        title="the loss falls too smoothly",
        verdict="unstable",
        severity="warning",
        cause="the same batch again and again: a data loader that is started anew in every step, "
        "or a sampler that is not shuffled; or the log has a running mean of the loss.",
        remedy="compare the batches of two steps; ignore this if the data is one batch.",
    ),
}
"""By name."""


def finding(
    name: str,
    *,
    evidence: str,
    since_step: int,
    until_step: int | None = None,
    place: Place | None = None,
    cause: str | None = None,
    verdict: Verdict | None = None,
    severity: Severity | None = None,
) -> Finding:
    """Make a finding from a symptom of the catalogue.

    Args:
        name: The symptom.
        evidence: What was seen.
        since_step: The first step.
        until_step: The last one, None if it lasts.
        place: Where; None for the whole model.
        cause: A likelier cause than the catalogue's.
        verdict: Another verdict than the catalogue's.
        severity: Another severity than the catalogue's.

    Returns:
        The finding.
    """
    symptom = SYMPTOMS[name]
    return Finding(
        symptom=name,
        title=symptom.title,
        verdict=verdict or symptom.verdict,
        severity=severity or symptom.severity,
        place=place or Place(),
        since_step=since_step,
        until_step=until_step,
        evidence=evidence,
        cause=cause or symptom.cause,
        remedy=symptom.remedy,
    )
