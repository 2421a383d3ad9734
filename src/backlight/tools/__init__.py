"""Commands that are no survey, a folder each."""
