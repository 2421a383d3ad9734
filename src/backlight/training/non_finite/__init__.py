"""The first NaN or infinity of a training: noticed, explained, and kept to be repeated."""
