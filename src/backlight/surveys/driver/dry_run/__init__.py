"""What a survey would take on this machine, told before anything is measured."""
