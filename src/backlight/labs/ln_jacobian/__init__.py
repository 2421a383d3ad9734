"""What does each layer norm of a small GPT take out of the gradient?"""
