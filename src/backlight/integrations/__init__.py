"""Other people's doors: trainers that call the watch, and dashboards that it writes to."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
