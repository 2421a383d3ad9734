"""``backlight demo``: the main jobs on a real model, on text that is shipped."""

from backlight.surveys.driver.declaration import Tool
from backlight.tools.demo.options import DemoConfig

TOOL = Tool(name="demo", options=DemoConfig, room=__name__)
