"""Tables of a survey of the gradient's flow: those of each view."""

from backlight.surveys.driver.measurement import Findings
from backlight.surveys.flow.measure import FlowMeasurement
from backlight.surveys.flow.options import FlowConfig


def findings(options: FlowConfig, measurement: FlowMeasurement) -> Findings:
    """Turn what was measured into tables.

    Args:
        options: What was asked.
        measurement: What was measured.

    Returns:
        The tables of the views, and their columns of numbers as arrays by ``{table}/{column}``.
    """
    del options  # they are in the run's config
    state, passages = measurement.state, measurement.corpus.passages
    tables = state.tables()
    metadata = {
        "loss_nats_per_token": state.nats / state.num_predicted,
        "num_tokens": passages.num_tokens,
        "num_passages": len(passages.tokens),
        "text": passages.account(),
        **({"left_out": measurement.plan} if measurement.plan else {}),
        **measurement.corpus.subject.note,
    }
    return Findings(
        tables=tables,
        data={
            f"{table.name}/{column}": values
            for table in tables
            for column, values in table.items()
            if values.dtype.kind in "if"
        },
        metadata=metadata,
        brief=metadata,
    )
