"""``backlight demo``: the main job on a real model, on text that is shipped."""

from pathlib import Path

from backlight.commands.layers import run as run_layers
from backlight.commands.session import console
from backlight.config import LayersConfig

__all__ = ["run"]

_PASSAGES = 32


def run(output_dir: Path) -> None:
    """Survey all layers of SmolLM2-135M over a few passages of Shakespeare.

    Args:
        output_dir: Where results go; an earlier demo there is replaced.
    """
    console().print(
        f"backlight layers --model_name smollm2 --dataset shakespeare --num_samples {_PASSAGES} "
        f"--output_dir {output_dir} --overwrite\n"
    )
    run_layers(
        LayersConfig(
            model_name="smollm2",
            dataset="shakespeare",
            num_samples=_PASSAGES,
            output_dir=output_dir,
            overwrite=True,
        )
    )
