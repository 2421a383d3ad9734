"""What was found: put together, written, shown and told."""
