"""Devices by their names."""

import torch

from backlight.errors import DeviceError, quoted


def choose_device(name: str) -> torch.device:
    """Find a device.

    Args:
        name: ``auto`` (the fastest that is here), ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Returns:
        The device.

    Raises:
        DeviceError: If there is no such device, here or at all.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(
            f"{quoted(name)} is no device: write auto, cpu, cuda, cuda:N or mps."
        ) from error
    there = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    there += ["mps"] if torch.backends.mps.is_available() else []
    known = {*there, *(each.partition(":")[0] for each in there)}
    if str(device) not in known:
        raise DeviceError(f"There is no device {quoted(name)} here; there is {', '.join(there)}.")
    return device
