"""``backlight layers``: what the gradient of the loss is at every layer, over a corpus."""

from backlight.surveys.driver.declaration import Survey
from backlight.surveys.layers.options import LayersConfig

LAYERS = Survey(name="layers", options=LayersConfig, room=__name__, picture="depth_profile.png")
