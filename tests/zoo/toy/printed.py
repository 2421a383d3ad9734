from backlight.surveys.driver.printing import every_column


def printed(options, results):
    yield every_column(results.tables["toy"])
