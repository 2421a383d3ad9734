"""backlight lights a transformer from behind: it shows where the gradient of its loss flows.

The names below are loaded when they are first used; importing this package loads nothing.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
