"""How wide an interval is."""

NORMAL_95 = 1.96
"""Standard errors to each side of a value that hold 95 % of a normal distribution."""
