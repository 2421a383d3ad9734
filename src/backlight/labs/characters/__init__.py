"""A small GPT learns characters: how, and what is measured on the way."""
