"""Why does the place of the norm decide whether a deep transformer needs warm-up?

    backlight lab norm-placement
    backlight lab norm-placement --learning_rates 1e-3 2e-3 4e-3 --n_layer 8

*At the first weights*, the network of Xiong et al. (2020, arXiv 2002.04745): one head that attends
evenly (W_Q = W_K = 0), an MLP d -> d -> d with ReLU, all weights N(0, 1/d), norms without gain,

    post:  m = LN(x + attention(x)),     x' = LN(m + MLP(m))
    pre:   m = x + attention(LN(x)),     x' = m + MLP(LN(m)),     LN at the very end,

and the cross-entropy of random labels. They say of the gradient of the last MLP's second matrix:
its norm falls as 1/sqrt(L) with pre, and does not depend on the depth L with post; and that each
post norm shrinks the gradient by sqrt(2/3), so that it decays as (2/3)^((L-l)/2) towards the input.

Beside it stands what the limit of wide networks gives without bounds: inner products of tokens
(and of their gradients) are followed through the layers, squares and products apart.

*In training*, a small GPT learns characters with both placements, with and without warm-up.
"""

import numpy as np
from torch import nn

from backlight.labs.characters.learning import Lesson, learn_or_diverge, make_network, open_text
from backlight.labs.frame.options import CharacterOptions
from backlight.labs.frame.repeating import Arrays, repeat
from backlight.labs.norm_placement.figures import placement_plots
from backlight.labs.norm_placement.options import NormPlacementConfig
from backlight.labs.norm_placement.tables import placement_remarks, placement_tables
from backlight.labs.norm_placement.wide_network import PLACEMENTS, measure
from backlight.learning_rules import LocalGPT
from backlight.surveys.driver.trials import LabFindings, TrialRunner

_SHARED = {"text", "num_steps", "batch_size", "block_size", "n_layer", "n_head", "n_embd"}


def experiment(config: NormPlacementConfig, runner: TrialRunner) -> LabFindings:
    """Measure at the first weights, train, tabulate.

    Args:
        config: The options.
        runner: Where trials are carried out.

    Returns:
        Tables ``slopes`` (prediction beside measurement), ``depths``, ``layers``, ``sizes``,
        ``training`` and ``curves``, two figures, and what they say.
    """
    text, kinds = open_text(_lesson_options(config)), _kinds_of_training(config)
    sizes = {"width": config.width, "positions": config.positions}

    def first_weights(norm: str, seed: int) -> Arrays:
        found = {
            depth: measure(norm, depth, **sizes, seed=seed, device=runner.device)
            for depth in config.depths
        }
        deepest = found[max(config.depths)]
        last = np.array([found[depth].weights[-1] for depth in config.depths])
        return {"last": last, "weights": deepest.weights, "sizes": deepest.sizes}

    def trained(learning_rate: float, training: str, seed: int) -> Arrays:
        placement, warmup = kinds[training]
        options = _lesson_options(config, learning_rate)
        model = make_network(options, text, seed, norm_placement=placement)
        if config.initialisation == "glorot":
            _glorot(model)
        lesson = Lesson(options, text, seed, runner.device)
        losses, _ = learn_or_diverge(model.to(runner.device), lesson, warmup=warmup)
        return {"losses": np.where(np.isfinite(losses), losses, np.nan)}

    axes = {"norm": PLACEMENTS}
    found = repeat(runner, first_weights, axes, config.all_seeds, "{norm}-norm, seed {seed}")
    axes = {"learning_rate": config.learning_rates, "training": kinds}
    seeds = range(config.seed, config.seed + config.training_seeds)
    name = "{training} at {learning_rate:g}, seed {seed}"
    trainings = repeat(runner, trained, axes, seeds, name)
    tables = placement_tables(config, found, trainings)
    return LabFindings(
        tables=tables,
        plots=placement_plots(config),
        printed=("slopes", "depths", "training"),
        remarks=placement_remarks(config, tables[0], tables[-2]),
    )


def _kinds_of_training(config: NormPlacementConfig) -> dict[str, tuple[str, int]]:
    """List what is trained at each learning rate.

    Args:
        config: The options.

    Returns:
        The placement and the steps of the warm-up (0 for none) of each training, by its name.
    """
    return {
        f"{placement}-norm, {'warm-up' if steps else 'no warm-up'}": (placement, steps)
        for placement in PLACEMENTS
        for steps in (0, config.warmup_steps)
    }


def _glorot(model: LocalGPT) -> None:
    """Draw Glorot's weights for each linear map of the blocks, and embeddings of size 1.

    Args:
        model: It is changed in place.
    """
    for name, parameter in model.named_parameters():
        if ".h." in name and parameter.dim() > 1:
            nn.init.xavier_normal_(parameter)
        elif name.endswith("wte.weight"):
            nn.init.normal_(parameter)


def _lesson_options(config: NormPlacementConfig, learning_rate: float = 1e-3) -> CharacterOptions:
    """Translate the options of the training into the form that lessons take.

    Args:
        config: The options.
        learning_rate: Where the rate rises to.

    Returns:
        Those that they share.
    """
    return CharacterOptions(**config.model_dump(include=_SHARED), learning_rate=learning_rate)
