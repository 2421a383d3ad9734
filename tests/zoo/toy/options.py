from backlight.surveys.driver.options import CorpusOptions, DrawnRunOptions, ModelOptions


class ToyConfig(DrawnRunOptions, CorpusOptions, ModelOptions):
    """Measure how long the gradient is at the embedding."""
