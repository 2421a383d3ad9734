"""One forward and one backward, and what they leave: the tape."""
