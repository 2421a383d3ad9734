"""Figures of a flow run."""
