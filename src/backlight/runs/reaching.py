"""Why a place on another file system cannot be reached, and what to do about it."""

import sys

from backlight.foreign.text import plain
from backlight.runs.urls import ATOMIC, Url

_FAILURES = (
    "botocore.exceptions:BotoCoreError",
    "botocore.exceptions:ClientError",
    "google.auth.exceptions:GoogleAuthError",
    "gcsfs.retry:HttpError",
    "azure.core.exceptions:AzureError",
    "aiohttp:ClientError",
    "fsspec.exceptions:FSTimeoutError",
)
"""Kinds of failures of libraries, beside ``OSError``; looked at if the library was loaded."""

_NO_CREDENTIALS = (
    "botocore.exceptions:NoCredentialsError",
    "botocore.exceptions:PartialCredentialsError",
    "botocore.exceptions:CredentialRetrievalError",
    "botocore.exceptions:SSOError",
    "botocore.exceptions:ProfileNotFound",
    "google.auth.exceptions:DefaultCredentialsError",
    "google.auth.exceptions:RefreshError",
    "azure.core.exceptions:ClientAuthenticationError",
)

_GIVING = {
    "s3fs": "`aws configure`, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gcsfs": "`gcloud auth application-default login`, or GOOGLE_APPLICATION_CREDENTIALS",
    "adlfs": "AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME and "
    "AZURE_STORAGE_ACCOUNT_KEY",
}
"""How credentials are given to the package of a file system."""


def failures() -> tuple[type[BaseException], ...]:
    """List the kinds of errors with which a file system says that it cannot be reached."""
    return (OSError, *_loaded(_FAILURES))


def reason_and_remedy(error: BaseException, place: Url) -> tuple[str, str]:
    """Tell why a place cannot be reached, and what to do.

    Args:
        error: What its library raised.
        place: The place.

    Returns:
        Half a sentence for each.
    """
    package = ATOMIC[str(place).partition(":")[0]]
    said = plain(error)
    if isinstance(error, _loaded(_NO_CREDENTIALS)) or (
        isinstance(error, ValueError) and "credential" in said
    ):
        how = f" ({_GIVING[package]})" if package in _GIVING else ""
        return "there are no valid credentials", f"give them{how}"
    if isinstance(error, PermissionError) or said.startswith("Forbidden"):
        return "there is no permission", "use credentials that have it"
    return "the place could not be reached", "check the network and the address"


def _loaded(kinds: tuple[str, ...]) -> tuple[type[BaseException], ...]:
    pairs = (kind.split(":") for kind in kinds)
    return tuple(
        getattr(sys.modules[module], name) for module, name in pairs if module in sys.modules
    )
