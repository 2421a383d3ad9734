"""From the history of a training run to what is wrong with it: where, since when, and why."""
