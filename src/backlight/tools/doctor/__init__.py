"""``backlight doctor``: is the gradient of a training healthy, and if not, where and since when."""

from backlight.surveys.driver.declaration import Tool
from backlight.tools.doctor.options import DoctorConfig

TOOL = Tool(name="doctor", options=DoctorConfig, room=__name__, positional="run_dir", heavy=False)
