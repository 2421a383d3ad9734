"""How the import hook checks annotations: a whole number may stand for a float."""

from importlib.util import find_spec
from pathlib import Path
from random import Random

import beartype._check.code.codemain as drawing
from beartype import BeartypeConf, beartype

# Which item of a list is checked is drawn, and not from the generator that tests compare.
drawing.getrandbits = Random(0).getrandbits

check = beartype(conf=BeartypeConf(is_pep484_tower=True))


def with_shapes() -> list[str]:
    """Name the modules that declare shapes of arrays.

    The others are left to the type checker: what the hook does at each call costs more than most
    of their functions.
    """
    (root,) = map(Path, find_spec("backlight").submodule_search_locations)
    files = (file for file in root.rglob("*.py") if "jaxtyping" in file.read_text(encoding="utf-8"))
    parts = (file.relative_to(root.parent).with_suffix("").parts for file in files)
    return [".".join(part for part in names if part != "__init__") for names in parts]
