"""What the experiments learn."""

import pytest

from zoo.labs import SENTENCES


@pytest.fixture(scope="session")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "roses.txt"
    path.write_text(SENTENCES)
    return path
