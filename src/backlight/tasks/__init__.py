"""What is differentiated: objectives."""
