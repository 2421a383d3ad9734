"""Learning rules and norm surrogates for models of the table of families."""
