"""States of shards that tell in which order they were merged, and a process that is killed."""

import numpy as np


def join(first, second):
    """Add, and write down the order in which it was done."""
    return {
        "sum": first["sum"] + second["sum"],
        "order": np.array(f"({first['order']} {second['order']})"),
    }


def state_of(shard):
    """Make numbers whose sum depends on the order of addition."""
    random = np.random.default_rng(shard)
    return {
        "sum": random.normal(size=4) * 10.0 ** random.integers(-8, 8),
        "order": np.array(f"{shard}"),
    }


class Killed(BaseException):
    """The process ends here."""


class Mortal:
    """A shelf of which the process is killed before one of its file operations."""

    def __init__(self, shelf, num_operations):
        self._shelf, self._left = shelf, num_operations
        self.names, self.read, self.place = shelf.names, shelf.read, shelf.place

    def _live(self):
        if self._left == 0:
            raise Killed
        self._left -= 1

    def put(self, name, content):
        self._live()
        self._shelf.put(name, content)

    def remove(self, name):
        self._live()
        self._shelf.remove(name)
