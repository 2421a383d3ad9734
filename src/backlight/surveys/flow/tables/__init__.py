"""The tables of a flow: each view has its own."""

from backlight.surveys.flow.measure.attention import AttentionView
from backlight.surveys.flow.measure.norms import NormView
from backlight.surveys.flow.measure.residual import ResidualView
from backlight.surveys.flow.measure.survey import Flow
from backlight.surveys.flow.tables.attention import attention_tables
from backlight.surveys.flow.tables.norms import norm_table
from backlight.surveys.flow.tables.residual import residual_tables
from backlight.tables import Table


def flow_tables(state: Flow) -> list[Table]:
    """Tabulate all views.

    Args:
        state: What was measured.

    Returns:
        The tables, view after view.
    """
    tables: list[Table] = []
    for view in state.views.values():
        match view:
            case NormView():
                tables.append(norm_table(view))
            case AttentionView():
                tables += attention_tables(view)
            case ResidualView():
                tables += residual_tables(view)
            case _:
                raise TypeError(f"There are no tables for a {type(view).__name__}.")
    return tables
