"""Questions asked of a model and a text, one room each; each has the same doors."""
