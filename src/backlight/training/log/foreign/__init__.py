"""Logs of other tools: found in a folder, read line by line, understood by tables of names."""
