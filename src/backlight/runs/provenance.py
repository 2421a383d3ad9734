"""Where numbers came from: versions, commit, machine and time."""

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("backlight", "torch", "transformers", "numpy", "tokenizers")


def provenance() -> dict[str, str]:
    """Collect versions of the packages that numbers depend on, the commit, and the start time."""
    facts = {"started": datetime.now(UTC).isoformat(timespec="seconds")}
    for package in _PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            continue
    facts["python"] = platform.python_version()
    facts["platform"] = platform.platform(terse=True)
    commit = _commit()
    return {**facts, "commit": commit} if commit else facts


def _commit() -> str | None:
    """Name the commit of a checkout of backlight, with ``+`` if it has changes; else None."""
    here = Path(__file__).parent
    try:
        status = subprocess.run(
            ["git", "-C", str(here), "status", "--porcelain=v2", "--branch", "--untracked=no", "."],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        ).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return None
    oid = next((line.split()[-1] for line in status if line.startswith("# branch.oid")), None)
    changed = any(not line.startswith("#") for line in status)
    return f"{oid}+" if oid and changed else oid
