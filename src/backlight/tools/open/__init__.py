"""``backlight open``: the page of a run, of a training's log, or of all runs, in the browser."""

from backlight.surveys.driver.declaration import Tool
from backlight.tools.open.options import OpenConfig

TOOL = Tool(name="open", options=OpenConfig, room=__name__, positional="run_dir", heavy=False)
