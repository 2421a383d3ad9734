"""Options of ``backlight sites``."""

from pydantic import Field

from backlight.surveys.driver.options import Layers, ModelOptions


class SitesConfig(ModelOptions):
    """Options of ``backlight sites``."""

    layers: Layers = Field(
        default="all", description="Such as 0-23, or 0,5,10, or 0-5,7, or all; a list is the same."
    )
