"""Tiny models of every family, built in memory, and a tokenizer for them."""
