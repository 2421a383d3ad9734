from backlight.surveys.driver.options import CorpusOptions, ModelOptions, PrintOptions, RunOptions


class ToyConfig(PrintOptions, RunOptions, CorpusOptions, ModelOptions):
    """Measure how long the gradient is at the embedding."""
