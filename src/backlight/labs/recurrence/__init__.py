"""How fast does the gradient shrink or grow on its way back through time?"""
