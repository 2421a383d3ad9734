"""Experts that lie in a model's files one by one and are put together when they are read."""

import re
from collections import defaultdict

from backlight.errors import ModelError, quoted
from backlight.models.loading.inventory import Inventory

_EXPERT = re.compile(r"^(?P<before>.*\bexperts\.)(?P<number>\d{1,9})(?P<after>\..*)$")


def check_experts(inventory: Inventory, name: str) -> None:
    """Check that the experts of each layer are numbered from 0 without a gap, and are alike.

    Transformers stacks those that it finds: with one missing and one too many it would go on with
    others in their places.

    Args:
        inventory: What the files hold.
        name: What the user called the model.

    Raises:
        ModelError: If one is missing, or has another shape than the first.
    """
    groups: defaultdict[tuple[str, str], dict[int, str]] = defaultdict(dict)
    for key in inventory.tensors:
        match = _EXPERT.match(key)
        if match is not None:
            groups[match["before"], match["after"]][int(match["number"])] = key
    for (before, after), keys in groups.items():
        for number in range(max(keys) + 1):
            if number not in keys:
                raise ModelError(
                    f"{quoted(f'{before}{number}{after}')} is missing in the files of {name}, "
                    f"which hold experts up to {max(keys)}. The files are not complete."
                )
        shape = inventory.tensors[keys[0]].shape
        for key in keys.values():
            if inventory.tensors[key].shape != shape:
                raise ModelError(
                    f"{quoted(key)} of {name} is {list(inventory.tensors[key].shape)}, but the "
                    f"first expert beside it is {list(shape)}."
                )
