"""From a name, or a model of Transformers, to a proven subject: only here is that library known."""

import lazy_loader

from backlight.models.versions import LOWEST, require

for _package, _version in LOWEST.items():
    require(_version, "backlight", _package)

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
