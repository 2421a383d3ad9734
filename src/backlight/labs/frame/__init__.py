"""What every experiment stands in: the notebook, what lets it run, and means over seeds."""
