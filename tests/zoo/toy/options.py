from backlight.surveys.driver.options import CorpusOptions, ModelOptions, RunOptions


class ToyConfig(RunOptions, CorpusOptions, ModelOptions):
    """Measure how long the gradient is at the embedding."""
