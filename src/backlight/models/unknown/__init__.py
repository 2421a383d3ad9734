"""Modules that backlight does not know: what can be measured of them is tried out and proven."""
