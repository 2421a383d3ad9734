"""Figures of a tokens run."""
