"""What norms, attention and residual paths do to the gradient, streamed over a corpus."""
