"""Which module of a model is what: the table of architectures, and what is read off it."""
