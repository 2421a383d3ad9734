"""``backlight merge``: finish a planned run whose parts were measured."""

from backlight.surveys.driver.declaration import Tool
from backlight.tools.merge.options import MergeConfig

TOOL = Tool(name="merge", options=MergeConfig, room=__name__, positional="run_dir")
