"""What ``backlight train-sae`` prints at the end: how good the dictionary is."""

import numpy as np

from backlight.surveys.driver.words.account import corpus_lines
from backlight.surveys.driver.words.places import in_command, short
from backlight.surveys.driver.words.printing import Column, Shown, print_shown
from backlight.surveys.driver.words.terminal import console
from backlight.tables import Table
from backlight.tools.train_sae.options import TrainSaeConfig
from backlight.tools.train_sae.trained import TrainedDictionary


def print_trained(config: TrainSaeConfig, trained: TrainedDictionary) -> None:
    """Print how good a dictionary is, where its files are, and how it is used.

    Args:
        config: The options.
        trained: The dictionary.
    """
    print_shown([_shown(config, trained)])
    lines = [
        "",
        f"SAELens               {short(trained.saelens)}",
        f"dictionary_learning   {short(trained.dictionary_learning)}",
        f"Its features          backlight sae --model_name {config.model_name} "
        f"--sae_path {in_command(trained.saelens)}",
    ]
    console().print("\n".join(lines), soft_wrap=True)


def _shown(config: TrainSaeConfig, trained: TrainedDictionary) -> Shown:
    quality, recovery = trained.quality, trained.recovery
    seconds = ", ".join(f"{name} {value:.0f}" for name, value in trained.seconds.items())
    caption = (
        f"On {quality.num_tokens:,} held-out tokens of {config.dataset}, the first of each passage "
        f"left out. Loss on {recovery.num_tokens:,} of them, nats per token: {recovery.clean:.3f} "
        f"as the model is, {recovery.spliced:.3f} with the reconstruction, {recovery.zeroed:.3f} "
        f"with zeros.\nSeconds: {seconds}."
    )
    rows = {
        "explained variance": f"{quality.explained_variance:.4f}",
        "the same, with first tokens": f"{quality.explained_variance_with_first:.4f}",
        "features that fire at a token (L0)": f"{quality.l0:.1f}",
        "features that never fire": f"{100 * quality.dead_share:.1f} %",
        "loss recovered": f"{recovery.share:.4f}",
    }
    columns = {"on held-out text": np.array(list(rows)), "value": np.array(list(rows.values()))}
    return Shown(
        table=Table(name="quality", columns=columns),
        columns=[Column(name, name) for name in columns],
        title=f"{trained.dictionary.num_features} features of {trained.site.name} of "
        f"{config.model_name}",
        caption="\n".join([caption, *corpus_lines(config, {"text": trained.origin["corpus"]})]),
    )
