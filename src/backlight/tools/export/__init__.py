"""``backlight export``: what differs, or is largest, in the form that other tools read."""

from backlight.surveys.driver.declaration import Tool
from backlight.tools.export.options import ExportConfig

TOOL = Tool(name="export", options=ExportConfig, room=__name__, positional="run", heavy=False)
