"""Experiments: one file each, a program read top to bottom; nobody uses them but the user."""
