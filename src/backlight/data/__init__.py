"""Text and batches: from a name to passages, from passages to tensors."""
