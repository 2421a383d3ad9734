"""What a command says while it works and when it is done: on the terminal, and in sentences."""
