"""What keeps a failure of the watch away from the training that it watches."""
