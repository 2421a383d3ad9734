"""What is differentiated: objectives, and structured prompts whose answers they are of."""
