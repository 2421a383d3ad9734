"""Runs on disk: created, checkpointed, resumed, finished and read; no torch in here."""
