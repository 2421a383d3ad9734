"""Sparse dictionaries: read from every common format, proven on activations, differentiated."""
