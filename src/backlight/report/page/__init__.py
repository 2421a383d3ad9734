"""One page that shows a whole run, from disk and without a network."""
