"""Where the numbers of a watched training go: log, terminal, other people's tools."""
