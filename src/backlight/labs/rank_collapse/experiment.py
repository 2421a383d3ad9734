"""Why does attention alone not make a deep network, and what do queries and keys learn in one?

    backlight lab rank-collapse
    backlight lab rank-collapse --depths 4 64 --positions 32

A stack of attention layers (one head, no mask) at its first weights, N(0, 1/d), reads random
tokens. ``rest`` is what is left of the stream X without its mean over tokens, X - 1 x', and its
share in the energy |X|^2 says how far the tokens are from being all alike (rank one).

    attention           x' = A(x)                 collapses doubly exponentially (Dong et al. 2021)
    attention + MLP     x' = MLP(A(x))            likewise
    skip                x' = LN(x + A(x))         collapses exponentially
    skip, 1/sqrt(L)     x' = LN(x + A(x)/sqrt L)  does not (Noci et al. 2022)

*Without a skip*, scores differ between queries by products of rests only, and what they mix are
rests again: with n tokens the energy r of the rest (over the width) becomes about r^3 / n, the cube
that Dong et al. bound. *With one*, attention is nearly even: it doubles the energy of the mean (or
multiplies it by 1 + 1/L) and leaves the rest as it is, so that behind l layers, branches scaled by
a, the rest's share is

    1 / (1 + (1 + a^2)^l / (n - 1)).

Where tokens are alike, weights do not matter: the gradients of W_Q and W_K vanish with the square
of the rest, that of W_V does not.
"""

import numpy as np
import torch

from backlight.labs.frame.repeating import Arrays, repeat
from backlight.labs.rank_collapse.figures import collapse_plot
from backlight.labs.rank_collapse.options import RankCollapseConfig
from backlight.labs.rank_collapse.stack import KINDS, draw_stack, draw_tokens, energies
from backlight.labs.rank_collapse.tables import collapse_remarks, collapse_tables
from backlight.surveys.driver.trials import LabFindings, TrialRunner

_SIZES = np.logspace(-4, -1.5, 6)  # of the rest, against the mean, in the measurement of one layer


def experiment(config: RankCollapseConfig, runner: TrialRunner) -> LabFindings:
    """Send tokens through, differentiate, tabulate.

    Args:
        config: The options.
        runner: Where trials are carried out.

    Returns:
        Tables ``slopes`` (prediction beside measurement), ``depths`` (the last layer of each
        network) and ``layers`` (each layer of the deepest), a figure, and what they say.
    """

    def trial(network: str, seed: int) -> Arrays:
        stacks = [
            draw_stack(config, network, depth, seed, runner.device) for depth in config.depths
        ]
        tokens = draw_tokens(config, seed, runner.device)
        found = [stack.measure(tokens) for stack in stacks]
        alike = tokens.mean(dim=0).expand_as(tokens)
        deepest = found[int(np.argmax(config.depths))]
        return {
            "shares": np.array([each["shares"][-1] for each in found]),
            "gradients": np.array([each["gradients"][-1] for each in found]),
            "layer_means": deepest["means"],
            "layer_rests": deepest["rests"],
            "layer_gradients": deepest["gradients"],
            "of_identical_tokens": stacks[0].measure(alike)["gradients"][0],
            "exponent": np.array(_exponent(config, network, seed, runner.device)),
        }

    axes = {"network": KINDS}
    found = repeat(runner, trial, axes, config.all_seeds, "{network}, seed {seed}")
    tables = collapse_tables(config, found)
    return LabFindings(
        tables=tables,
        plots=[collapse_plot(config)],
        printed=("slopes", "depths"),
        remarks=collapse_remarks(tables[0], found),
    )


def _exponent(config: RankCollapseConfig, kind: str, seed: int, device: torch.device) -> float:
    """Measure how the rest's length behind one layer goes with its length before."""
    stack = draw_stack(config, kind, 1, seed, device)
    tokens = draw_tokens(config, seed, device)
    mean = tokens[0]
    rest = tokens - tokens.mean(dim=0)
    lengths = [energies(stack.forward(mean + size * rest)[-1].detach())[1] for size in _SIZES]
    return float(np.polyfit(np.log(_SIZES), np.log(lengths) / 2, 1)[0])
