"""``backlight flow``: what happens to the gradient between the loss and the embedding."""

from backlight.surveys.driver.declaration import Survey
from backlight.surveys.flow.options import FlowConfig

FLOW = Survey(name="flow", options=FlowConfig, room=__name__, picture="gradient_flow.svg")
