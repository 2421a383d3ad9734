"""What does a simpler backward of the layer norms cost, and does it follow from their Jacobian?"""
