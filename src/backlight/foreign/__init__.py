"""What strangers wrote: files opened within bounds, text made safe to show.

Nothing is imported here, so that who needs one file does not load the readers of the others.
"""
