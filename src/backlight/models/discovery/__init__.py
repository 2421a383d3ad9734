"""How a model is wired, found by arithmetic on the model itself, without a table."""
