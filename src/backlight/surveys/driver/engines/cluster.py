"""A cluster of Ray: found out whether it can be reached, joined, and left again."""

import socket
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from backlight.errors import ConfigError, WorkerError, quoted

AUTO = "auto"
"""The cluster that this machine belongs to, or else one on this machine alone."""

_SECONDS_TO_ANSWER = 10.0


def ray_module() -> Any:
    """Import Ray.

    Returns:
        The module.

    Raises:
        ConfigError: If it is not installed; the message says how it is.
    """
    try:
        return import_module("ray")
    except ModuleNotFoundError as error:
        raise ConfigError(
            "cluster: this needs Ray, here and on every machine of the cluster: "
            "pip install 'backlight[cluster]'."
        ) from error


def refuse_unreachable(address: str) -> None:
    """Refuse a cluster that nobody answers for, before anything is loaded.

    Args:
        address: ``auto``, which is not asked, or ``ray://HOST:PORT``.

    Raises:
        ConfigError: If Ray is not installed.
        WorkerError: If nobody answers at the address.
    """
    ray_module()
    if address == AUTO:
        return
    place = urlsplit(address)
    try:
        socket.create_connection((place.hostname, place.port or 0), _SECONDS_TO_ANSWER).close()
    except (OSError, ValueError) as error:
        raise WorkerError(
            f"cluster: nobody answers at {quoted(address)} ({error}). Start Ray on that machine "
            "with `ray start --head --ray-client-server-port 10001`, and let its port through."
        ) from error


@contextmanager
def joined(address: str) -> Generator[Any]:
    """Join a cluster, and leave it at the end if this process had not joined one before.

    Args:
        address: ``auto`` or ``ray://HOST:PORT``.

    Yields:
        The module ``ray``.

    Raises:
        WorkerError: If the cluster does not let this process in; the message says what Ray says.
    """
    ray = ray_module()
    if address == AUTO and ray.is_initialized():  # by who calls from Python
        yield ray
        return
    try:
        ray.init(None if address == AUTO else address, logging_level="WARNING")
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise WorkerError(
            f"cluster: {quoted(address)} could not be joined: {quoted(str(error))}. If it asks "
            "for a token, have it in ~/.ray/auth_token and set RAY_AUTH_MODE=token."
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()
