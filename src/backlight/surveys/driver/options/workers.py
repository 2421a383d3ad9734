"""The options of who measures: this process, several of this machine, or a cluster."""

from pydantic import Field

from backlight.surveys.driver.options.shared import Options


class WorkerOptions(Options):
    """Who measures; no number depends on it but in its last bits, if threads are others."""

    workers: int = Field(
        default=1,
        gt=0,
        le=1024,
        description="How many processes measure, each with the model loaded: on this machine, "
        "whose GPUs and threads are shared among them, or on the cluster.",
    )
    cluster: str | None = Field(
        default=None,
        pattern=r"^(auto|ray://[^/\s:]+:\d+)$",
        description="Measure on a cluster of Ray (pip install 'backlight[cluster]'): auto for the "
        "one that this machine belongs to, or else one on this machine alone; or "
        "ray://HOST:10001.",
    )
