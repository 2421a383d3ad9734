"""What experiments share: repeated trials, means over seeds, tables and options."""
