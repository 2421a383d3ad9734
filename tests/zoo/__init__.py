"""Tiny models of every family, built in memory, and a tokenizer for them."""

import os

# Hugging Face's libraries read this once, when they are first imported.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
