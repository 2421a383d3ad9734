"""Cities to ask about: made-up ones with every kind of coincidence, and those that are shipped."""

import numpy as np
import pytest

from backlight.world import CITIES
from backlight.world.cities import read_cities
from zoo.cities import make_cities


@pytest.fixture(scope="session")
def made_up():
    """Eighty cities on a coarse grid: many in line, some at one place, many at equal distances."""
    random = np.random.default_rng(3)
    points = random.integers(-6, 7, size=(80, 2)) * 40
    ids = random.choice(10_000, size=80, replace=False)
    return make_cities(points.tolist(), city_ids=ids)


@pytest.fixture(scope="session")
def shipped():
    """The cities of the package."""
    return read_cities(CITIES)


@pytest.fixture(params=["made_up", "shipped"])
def cities(request):
    """Both."""
    return request.getfixturevalue(request.param)
