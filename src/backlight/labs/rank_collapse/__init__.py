"""Why does attention alone not make a deep network, and what do queries and keys learn in one?"""
