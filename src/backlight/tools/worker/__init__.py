"""``backlight worker``: measure a part of a planned run."""

from backlight.surveys.driver.declaration import Tool
from backlight.tools.worker.options import WorkerConfig

TOOL = Tool(name="worker", options=WorkerConfig, room=__name__, positional="run_dir")
