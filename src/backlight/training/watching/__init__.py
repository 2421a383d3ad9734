"""The hooks in a training loop that stays the user's own."""
