"""``backlight report``: every figure of a run, and its page, drawn anew from disk."""

from backlight.surveys.driver.declaration import Tool
from backlight.tools.report.options import ReportConfig

TOOL = Tool(name="report", options=ReportConfig, room=__name__, positional="run_dir", heavy=False)
