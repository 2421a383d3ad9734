"""Figures of a tokens run."""


def draw(results):
    """Draw all figures of a run."""
    from backlight.surveys.tokens.figures.all import draw_tokens
    from backlight.tools.report.command import tokens_report

    return ((f"figures/{n}", f) for n, f in draw_tokens(tokens_report(results)))
