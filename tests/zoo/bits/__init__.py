"""Trainings that are run twice from the same seeds, watched and not, and must end the same."""
