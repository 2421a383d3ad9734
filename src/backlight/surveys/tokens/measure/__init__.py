"""The gradient at every position of structured prompts."""
