"""``backlight compare``: how two finished runs differ, and which differences are surely so."""

from backlight.surveys.comparison.options import CompareConfig
from backlight.surveys.driver.declaration import Survey

COMPARISON = Survey(
    name="compare",
    options=CompareConfig,
    room=__name__,
    positional="runs",
    reads=True,
    needs_model=False,
)
