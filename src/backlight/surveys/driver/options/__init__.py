"""Options that several commands share, and how files and flags become options."""
