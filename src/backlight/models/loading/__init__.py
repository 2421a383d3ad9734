"""From a name, or a model of Transformers, to a proven subject: only here is that library known."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
