"""``backlight stability``: how much of a run's ranking another half of its text would repeat."""

from backlight.surveys.driver.declaration import Survey
from backlight.surveys.stability.options import StabilityConfig

STABILITY = Survey(
    name="stability",
    options=StabilityConfig,
    room=__name__,
    picture="stability.png",
    positional="run",
    reads=True,
    needs_model=False,
)
