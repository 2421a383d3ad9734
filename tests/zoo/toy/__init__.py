"""A survey that the package does not know: how long the gradient is at the embedding."""

from backlight.surveys.driver.declaration import Survey
from zoo.toy.options import ToyConfig

TOY = Survey(name="toy", options=ToyConfig, room=__name__)
