"""Who measures the shards of a run: this process, others of this machine, or many machines."""
