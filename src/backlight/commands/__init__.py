"""What each command does, one file for each; they are loaded by name when they are called."""
