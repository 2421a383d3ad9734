"""Files of tensors, opened without running anything that they hold."""

import pickle
import re
import warnings
import zipfile
import zlib
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from backlight.dictionaries.formats.weights import Weights
from backlight.errors import DictionaryError, quoted
from backlight.foreign.files import check_archive, check_file

_BROKEN = (
    OSError,
    EOFError,
    MemoryError,
    RuntimeError,
    ValueError,
    KeyError,
    zipfile.BadZipFile,
    zlib.error,
    pickle.UnpicklingError,
    SafetensorError,
)
_OBJECTS = re.compile("GLOBAL|Unsupported (global|class)|Object arrays")  # as torch and numpy say


@contextmanager
def open_weights(
    path: Path, *, dtype: torch.dtype, device: torch.device
) -> Generator[Weights, None, None]:
    """Hold a ``.safetensors`` or ``.npz`` file open.

    Args:
        path: The file.
        dtype: What its tensors are converted to.
        device: Where they are put.

    Yields:
        Its tensors.
    """
    with ExitStack() as stack:
        with _reading(_existing(path)):
            file: Any = stack.enter_context(_opened(path))

        def fetch(name: str) -> Tensor:
            with _reading(path):
                if isinstance(file, np.lib.npyio.NpzFile):
                    return torch.from_numpy(file[name])
                return file.get_tensor(name)

        names = tuple(file.keys())
        yield Weights(path=path, names=names, fetch=fetch, dtype=dtype, device=device)


def load_state(path: Path) -> dict[str, Any]:
    """Read a ``.pt`` file of tensors and plain values; its tensors stay in the file until copied.

    Args:
        path: The file.

    Returns:
        What it holds.

    Raises:
        DictionaryError: If it is not there, is damaged, or holds more than plain values.
    """
    with _existing(path).open("rb") as stream:
        check_archive(path, stream, error=DictionaryError)
    with _reading(path), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Detected pickle protocol")  # it is refused
        mapped = zipfile.is_zipfile(path)
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    if not isinstance(state, dict):
        raise DictionaryError(
            f"{quoted(path)} holds {type(state).__name__}, not tensors by name; save a "
            "state_dict()."
        )
    return {str(name): value for name, value in state.items()}


@contextmanager
def _opened(path: Path) -> Generator[Any, None, None]:
    if path.suffix != ".npz":
        with safe_open(path, framework="pt", device="cpu") as file:
            yield file
        return
    with path.open("rb") as stream:  # numpy leaves it open if it cannot be read
        check_archive(path, stream, error=DictionaryError)
        file = np.load(stream, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise ValueError("it holds a single array")
        yield file


@contextmanager
def _reading(path: Path) -> Generator[None, None, None]:
    try:
        yield
    except _BROKEN as error:
        if _OBJECTS.search(str(error)):
            raise DictionaryError(
                f"{quoted(path)} holds pickled Python objects, and loading those could run any "
                "code; save it again as plain tensors, such as a state_dict()."
            ) from error
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if isinstance(error, pickle.UnpicklingError):
            line = "it holds no tensors"  # torch advises to trust the file
        raise DictionaryError(
            f"{quoted(path)} is damaged, incomplete or no {path.suffix} file "
            f"({quoted(line)[1:-1].rstrip('.')}); copy or download it again."
        ) from error


def _existing(path: Path) -> Path:
    if not path.exists():
        raise DictionaryError(f"There is no file {quoted(path)}, which a dictionary needs.")
    check_file(path, error=DictionaryError)
    return path
