"""``backlight demo``: the main jobs on a real model, on text that is shipped."""

from pathlib import Path

from backlight.commands.layers import run as run_layers
from backlight.commands.sae import run as run_sae
from backlight.commands.session import console
from backlight.config import LayersConfig, SaeConfig

__all__ = ["run"]

_PASSAGES = 32


def run(output_dir: Path) -> None:
    """Survey all layers of SmolLM2-135M, and a dictionary of one, over a few passages.

    Args:
        output_dir: Where results go, a folder for each job; an earlier demo there is replaced.
    """
    options = {"model_name": "smollm2", "dataset": "shakespeare", "num_samples": _PASSAGES}
    place = {"output_dir": output_dir / "layers", "overwrite": True}
    _say(output_dir, "layers", "")
    run_layers(LayersConfig.model_validate({**options, **place}))
    more = {"sae_path": "smollm2", "aggregation_mode": "both"}
    place = {"output_dir": output_dir / "sae", "overwrite": True}
    _say(output_dir, "sae", "--sae_path smollm2 --aggregation_mode both ")
    run_sae(SaeConfig.model_validate({**options, **more, **place}))


def _say(output_dir: Path, command: str, more: str) -> None:
    console().print(
        f"\nbacklight {command} --model_name smollm2 {more}--dataset shakespeare "
        f"--num_samples {_PASSAGES} --output_dir {output_dir / command} --overwrite\n",
        soft_wrap=True,
    )
