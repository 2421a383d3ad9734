"""Numbers of the watch in trackio."""

from collections.abc import Mapping
from typing import Any

from backlight.integrations.extras import load_extra


class TrackioSink:
    """Logs into a run of trackio."""

    def __init__(self, project: str, **options: Any) -> None:
        """Start a run.

        Args:
            project: The project.
            options: Those of ``trackio.init``.
        """
        trackio = load_extra("trackio", for_what="TrackioSink")
        self._run = trackio.init(project=project, **options)

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Log the numbers of one step."""
        self._run.log(dict(numbers), step=step)

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()
