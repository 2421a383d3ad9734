"""The formats in which libraries keep sparse dictionaries, one file each."""
