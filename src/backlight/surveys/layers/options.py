"""Options of ``backlight layers``."""

from pydantic import Field

from backlight.surveys.driver.options import Layers, PathOptions, SurveyConfig


class LayersConfig(PathOptions, SurveyConfig):
    """Measure the gradient of the loss at every layer, over a corpus, in one pass.

    Prints what was found in three sentences, and the largest layers and dimensions with standard
    errors; with --table a line for each layer. With --save_outputs or --output_dir it also writes
    arrays, tables and figures.
    """

    layers: Layers = "all"
    site: str = Field(
        default="mlp.out",
        description="The site of each layer: any kind that `backlight sites MODEL` lists.",
    )
