"""``backlight train-sae``: a dictionary for a model that has none, in minutes."""

from backlight.surveys.driver.declaration import Tool
from backlight.tools.train_sae.options import TrainSaeConfig

TOOL = Tool(name="train-sae", options=TrainSaeConfig, room=__name__)
