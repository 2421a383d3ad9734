"""What is measured: the model, and the text, cut into batches that fit."""
