"""The snippets in README.md and docs/ are run as they stand (`make check`)."""

import os
import tempfile
from pathlib import Path
from typing import Any

from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser


def _empty_directory(namespace: dict[str, Any]) -> None:
    namespace["_home"], namespace["_scratch"] = Path.cwd(), tempfile.TemporaryDirectory()
    os.chdir(namespace["_scratch"].name)


def _back(namespace: dict[str, Any]) -> None:
    os.chdir(namespace["_home"])
    namespace["_scratch"].cleanup()


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), SkipParser()],
    patterns=["*.md"],
    setup=_empty_directory,
    teardown=_back,
).pytest()
