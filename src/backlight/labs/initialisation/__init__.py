"""Which first weights keep activations and gradients alive along depth?"""
