"""Options of ``backlight layers``."""

from pydantic import Field

from backlight.surveys.driver.options import Layers, SurveyConfig


class LayersConfig(SurveyConfig):
    """Options of ``backlight layers``."""

    layers: Layers = Field(
        default="all", description="Such as 0-23, or 0,5,10, or 0-5,7, or all; a list is the same."
    )
    site: str = Field(
        default="mlp.out",
        description="Where to look in each layer: any kind that `backlight sites MODEL` lists.",
    )
