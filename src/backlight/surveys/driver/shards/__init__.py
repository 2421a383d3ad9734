"""A corpus cut into shards: which, measured and merged in order, and when it is enough."""
