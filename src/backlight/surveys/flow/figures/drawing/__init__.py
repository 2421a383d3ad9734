"""The model as its residual stream, with the gradient along every path."""
