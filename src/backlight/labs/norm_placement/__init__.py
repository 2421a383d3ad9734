"""Why does the place of the norm decide whether a deep transformer needs warm-up?"""
