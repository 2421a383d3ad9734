"""Dictionaries that their own libraries wrote, and what those libraries compute with them."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from backlight.dictionaries.collection import read_dictionary

WRITTEN = Path(__file__).parent / "fixtures"
CPU = torch.device("cpu")


@pytest.fixture
def written():
    """The folder of dictionaries that libraries wrote."""
    return WRITTEN


@pytest.fixture
def copied(tmp_path):
    """Copy one of them, to be broken."""

    def copy(name):
        return Path(shutil.copytree(WRITTEN / name, tmp_path / "copy"))

    return copy


@pytest.fixture
def read():
    """Read a dictionary in float32."""

    def read(path, dtype=torch.float32):
        return read_dictionary(path, dtype=dtype, device=CPU)

    return read


@pytest.fixture
def assert_same_as_library(read):
    """Encode and decode as the library did that wrote a dictionary."""

    def check(folder, path=None):
        expected = load_file(folder / "expected.safetensors")
        dictionary = read(folder if path is None else path)
        codes = dictionary.encode(expected["x"])
        assert codes.counts().sum() > 0
        close = {"atol": 1e-5, "rtol": 1e-5}
        torch.testing.assert_close(codes.dense(), expected["features"], **close)
        found = dictionary.decode(codes, expected["x"])
        torch.testing.assert_close(found, expected["reconstruction"], **close)
        return dictionary

    return check
