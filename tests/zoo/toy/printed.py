from backlight.surveys.driver.words.printing import every_column


def summary(results):
    (length,) = results.tables["toy"]["mean_length"]
    return [f"The gradient at the embedding is {length:.3g} nats per unit long on average."]


def brief(options, results):
    yield every_column(results.tables["toy"])


tables = brief
