"""Blocks on their own: a model run on from one of them, and blocks whose weights come and go."""
