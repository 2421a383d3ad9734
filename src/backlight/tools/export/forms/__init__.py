"""The forms in which units, weights and tables are written, a file each."""
