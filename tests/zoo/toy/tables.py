from backlight.surveys.driver.results.findings import Findings
from backlight.tables import Table


def findings(options, measurement):
    length, tokens = measurement.state.result("length"), measurement.state.result("tokens")
    table = Table(name="toy", columns={"tokens": tokens, "mean_length": length / tokens})
    return Findings(
        tables=[table], data={"mean_length": length / tokens}, metadata={"site": "embed"}
    )
