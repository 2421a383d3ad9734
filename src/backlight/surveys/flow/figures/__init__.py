"""Figures of a flow run."""


def draw(results):
    """Draw all figures of a run."""
    from backlight.surveys.flow.figures.all import draw_flow
    from backlight.tools.report.command import flow_report

    return draw_flow(flow_report(results))
