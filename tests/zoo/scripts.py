"""Scripts of ``benchmarks/``, as modules whose parts can be tried."""

import importlib.util
import sys
from contextlib import contextmanager
from pathlib import Path

_FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@contextmanager
def benchmark(name):
    """Load a script for as long as the context lasts."""
    sys.path.insert(0, str(_FOLDER))
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", _FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        del sys.modules[spec.name]
        sys.path.remove(str(_FOLDER))
