"""``backlight validate``: how well gradients predict what happens without a unit."""

from backlight.surveys.driver.declaration import Survey
from backlight.surveys.validation.options import ValidateConfig

VALIDATION = Survey(
    name="validate",
    options=ValidateConfig,
    room=__name__,
    picture="predicted_and_true.png",
    positional="run",
    reads=True,
)
