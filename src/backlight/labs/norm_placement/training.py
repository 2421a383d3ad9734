"""A small GPT learns characters, with norms in either place, with and without warm-up."""

from torch import nn

from backlight.labs.frame.options import CharacterOptions
from backlight.labs.norm_placement.options import NormPlacementConfig
from backlight.labs.norm_placement.wide_network import PLACEMENTS
from backlight.learning_rules import LocalGPT

_SHARED = ("text", "num_steps", "batch_size", "block_size", "n_layer", "n_head", "n_embd")


def kinds_of_training(config: NormPlacementConfig) -> dict[str, tuple[str, int]]:
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


def glorot(model: LocalGPT) -> None:
    """Draw Glorot's weights for each linear map of the blocks, and embeddings of size 1.

    Args:
        model: It is changed in place.
    """
    for name, parameter in model.named_parameters():
        if ".h." in name and parameter.dim() > 1:
            nn.init.xavier_normal_(parameter)
        elif name.endswith("wte.weight"):
            nn.init.normal_(parameter)


def lesson_options(config: NormPlacementConfig, learning_rate: float = 1e-3) -> CharacterOptions:
    """Translate the options of the training into the form that lessons take.

    Args:
        config: The options.
        learning_rate: Where the rate rises to.

    Returns:
        Those that they share.
    """
    shared = {name: getattr(config, name) for name in _SHARED}
    return CharacterOptions(**shared, learning_rate=learning_rate)
