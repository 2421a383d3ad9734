"""How the import hook checks annotations: a whole number may stand for a float."""

from random import Random

import beartype._check.code.codemain as drawing
from beartype import BeartypeConf, beartype

# Which item of a list is checked is drawn, and not from the generator that tests compare.
drawing.getrandbits = Random(0).getrandbits

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
