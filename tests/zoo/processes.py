"""Other processes of this machine, as Linux tells of them."""

from pathlib import Path


def commands():
    """Yield the number, that of the parent, and the command line of each process."""
    for place in Path("/proc").iterdir():
        try:
            words = (place / "cmdline").read_bytes() if place.name.isdigit() else b""
            parent = (place / "stat").read_text().rpartition(")")[2].split()[1] if words else ""
        except OSError:
            continue  # it is gone
        if words:
            yield int(place.name), int(parent), words
