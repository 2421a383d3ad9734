"""``backlight sae``: which features of a sparse dictionary move the loss, over a corpus."""

from backlight.surveys.driver.declaration import Survey
from backlight.surveys.features.options import SaeConfig

FEATURES = Survey(name="sae", options=SaeConfig, room=__name__, picture="top_features_*.png")
