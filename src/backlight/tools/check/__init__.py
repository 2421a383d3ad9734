"""``backlight check``: do different ways to the same gradient agree on this model."""

from backlight.surveys.driver.declaration import Tool
from backlight.tools.check.options import CheckConfig

TOOL = Tool(name="check", options=CheckConfig, room=__name__, positional="model_name")
