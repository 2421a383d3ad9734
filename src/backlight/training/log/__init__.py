"""What is known of a training, in memory and read from disk; nothing here needs torch."""
