"""Which first weights keep activations and gradients alive along depth?

    backlight lab initialisation
    backlight lab initialisation --depth 64 --depths 4 16 64

*Plain stacks*, x' = phi(x W) without skips, phi tanh or ReLU, W with standard deviation s. In the
limit of wide networks the mean square q of an entry and that of its gradient go, per layer, by

    q' = E[phi(z)^2],   g = width s^2 E[phi'(z)^2] g',   z ~ N(0, width s^2 q),

which for ReLU is width s^2 / 2 both ways. Glorot's s = sqrt(2 / (in + out)) keeps a linear layer
even, He's sqrt(2 / in) a ReLU; ``plain`` is the same s whatever the width, 0.02 or 1.

*A transformer* (pre-norm, GELU, causal attention, as in GPT-2) adds each branch to its stream.
Every branch reads a normalised stream, so it adds about the same energy at each of L blocks, and
the stream's grows like 1 + c L; with the branches' last matrices scaled by 1/sqrt(2 L), as GPT-2
does, like 1 + c / 2 whatever L. Predicted are the tokens' inner products (a matrix over positions)
forward, and their gradients' back, with attention taken to be even over the past.
"""

import numpy as np

from backlight.labs.frame.repeating import Arrays, repeat
from backlight.labs.initialisation.figures import initialisation_plots
from backlight.labs.initialisation.options import InitialisationConfig
from backlight.labs.initialisation.stacks import ACTIVATIONS, STACK_WEIGHTS, measure_stack, stds
from backlight.labs.initialisation.streams import START, STREAM_WEIGHTS, measure_stream
from backlight.labs.initialisation.tables import initialisation_remarks, initialisation_tables
from backlight.surveys.driver.trials import LabFindings, TrialRunner


def experiment(config: InitialisationConfig, runner: TrialRunner) -> LabFindings:
    """Draw networks, go through them both ways, tabulate.

    Args:
        config: The options.
        runner: Where trials are carried out.

    Returns:
        Tables ``growth`` (of plain stacks, per layer), ``slopes`` (of transformers, by depth),
        ``stacks``, ``streams`` and ``stream_layers``, two figures, and what they say.
    """

    def plain(function: str, weights: str, seed: int) -> Arrays:
        std = stds(config.width, config.width)[weights]
        sizes = {"width": config.width, "depth": config.depth}
        return measure_stack(function, std, **sizes, seed=seed, device=runner.device)

    def transformer(weights: str, seed: int) -> Arrays:
        found = [
            measure_stream(config, weights, depth, seed, runner.device) for depth in config.depths
        ]
        deepest = found[int(np.argmax(config.depths))]
        return {
            "grown": np.array([each["activation"][-1] / START for each in found]),
            "added": np.array([float(each["added"]) for each in found]),
            "gradient_grown": np.array([each["gradient"][0] for each in found]),
            "activation": deepest["activation"],
            "gradient": deepest["gradient"],
        }

    kinds, seeds = {"function": ACTIVATIONS, "weights": STACK_WEIGHTS}, config.all_seeds
    stacks = repeat(runner, plain, kinds, seeds, "{function}, {weights}, seed {seed}")
    kinds = {"weights": STREAM_WEIGHTS}
    streams = repeat(runner, transformer, kinds, seeds, "transformer, {weights}, seed {seed}")
    tables = initialisation_tables(config, stacks, streams)
    return LabFindings(
        tables=tables,
        plots=initialisation_plots(config),
        printed=("growth", "slopes", "streams"),
        remarks=initialisation_remarks(*tables[:2]),
    )
