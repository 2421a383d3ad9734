"""Numbers of the watch in TensorBoard."""

from collections.abc import Mapping
from pathlib import Path

from backlight.integrations.extras import load_extra


class TensorBoardSink:
    """Writes scalars into a directory that ``tensorboard --logdir`` shows."""

    def __init__(self, directory: Path | str) -> None:
        """Open a writer.

        Args:
            directory: Where event files go.
        """
        module = load_extra("torch.utils.tensorboard", for_what="TensorBoardSink")
        self._writer = module.SummaryWriter(str(directory))

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Write the numbers of one step."""
        for name, number in numbers.items():
            self._writer.add_scalar(name, number, step)

    def close(self) -> None:
        """Finish writing."""
        self._writer.close()
