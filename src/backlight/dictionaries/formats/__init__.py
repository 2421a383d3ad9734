"""The formats in which libraries keep sparse dictionaries, one file each."""

from backlight.dictionaries.formats.base import Format
from backlight.dictionaries.formats.registry import FORMATS, format_of, is_dictionary

__all__ = ["FORMATS", "Format", "format_of", "is_dictionary"]
