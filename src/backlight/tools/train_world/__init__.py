"""``backlight train-world``: a small model of a world that is known to the last digit."""

from backlight.surveys.driver.declaration import Tool
from backlight.tools.train_world.options import TrainWorldConfig

TOOL = Tool(name="train-world", options=TrainWorldConfig, room=__name__)
