"""What does 1/sqrt(d) on the scores do to the gradient that goes back through the softmax?"""
