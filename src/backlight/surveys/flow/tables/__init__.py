"""Tables of a survey of the gradient's flow: each view has its own."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from backlight.stats.first_order import Weighing
from backlight.surveys.driver.relative import reason_note
from backlight.surveys.driver.results.findings import Findings
from backlight.surveys.flow.measure import FlowMeasurement
from backlight.surveys.flow.measure.survey import Flow, ViewName
from backlight.surveys.flow.options import FlowConfig
from backlight.surveys.flow.tables.attention import attention_tables
from backlight.surveys.flow.tables.groups import group_files
from backlight.surveys.flow.tables.norms import norm_tables
from backlight.surveys.flow.tables.residual import residual_tables
from backlight.tables import Table


def findings(options: FlowConfig, measurement: FlowMeasurement) -> Findings:
    """Turn what was measured into tables.

    Args:
        options: What was asked.
        measurement: What was measured.

    Returns:
        The tables of the views, and their columns of numbers as arrays by ``{table}/{column}``; as
        files also sums over groups of passages.
    """
    state, passages = measurement.state, measurement.corpus.passages
    views = state.views.values()
    tables = flow_tables(state, options.loss_reduction)
    metadata = {
        "loss_nats_per_token": state.loss.nats_per_token,
        "num_tokens": passages.num_tokens,
        "num_passages": len(passages.tokens),
        "text": passages.account(),
        **({"left_out": measurement.plan} if measurement.plan else {}),
        **reason_note(next((view.no_warning for view in views if view.no_warning), "")),
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
        files=group_files(state),
    )


def flow_tables(state: Flow, weighing: Weighing = "sequence_mean") -> list[Table]:
    """Tabulate what was seen, view after view; predicted changes are averaged by the reduction."""
    tables: dict[ViewName, Callable[[Any], Sequence[Table]]] = {
        "norms": norm_tables,
        "attention": partial(attention_tables, weighing=weighing),
        "residual": partial(residual_tables, weighing=weighing),
    }
    return [table for name, view in state.views.items() for table in tables[name](view)]
