"""Numerical trust: the same gradients computed in two ways that should agree, and how far apart."""
