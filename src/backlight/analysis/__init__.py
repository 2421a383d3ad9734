"""Tapes joined to the mathematics: loops with explicit state that end in tables."""
