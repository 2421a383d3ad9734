"""``python -m backlight``."""

import sys

from backlight.cli import main

sys.exit(main())
