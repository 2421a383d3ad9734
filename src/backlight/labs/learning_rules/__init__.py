"""How well does each learning rule learn, and how far is it from backpropagation on its way?"""
