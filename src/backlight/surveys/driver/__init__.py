"""What happens around every survey and experiment, once."""
