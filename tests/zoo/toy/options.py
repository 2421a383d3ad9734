from backlight.surveys.driver.options.shared import CorpusOptions, ModelOptions, ShownRunOptions


class ToyConfig(ShownRunOptions, CorpusOptions, ModelOptions):
    """Measure how long the gradient is at the embedding."""
