"""Small made-up worlds."""

import numpy as np

from backlight.world.cities import Cities

__all__ = ["SIX_CITIES", "SMALL_TRAINING", "make_cities"]

SMALL_TRAINING = {
    "tasks": ["distance", "compass"],
    "num_steps": 9,
    "rows_per_step": 16,
    "questions_per_city": 4,
    "first_cities": 20,
    "grow_below": 10.0,
    "growth": 0.3,
    "held_out": 0.1,
    "num_held_out": 12,
    "evaluate_every": 4,
    "checkpoint_every": 3,
    "hidden_size": 16,
    "num_layers": 2,
    "num_heads": 2,
}
"""Options of a training on sixty cities, of a second; all but the cities and where it goes."""


def make_cities(points, **others):
    """Cities at given points, called 0, 11, 22, ..."""
    num = len(points)
    columns = {
        "city_ids": np.arange(num) * 11,
        "names": np.array([f"City_{number}" for number in range(num)]),
        "x": np.array([x for x, _ in points]),
        "y": np.array([y for _, y in points]),
        "country_codes": np.array([("NA", "US", "FR")[number % 3] for number in range(num)]),
        "regions": np.array([("Africa", "Oceania")[number % 2] for number in range(num)]),
        **others,
    }
    return Cities(**columns)


SIX_CITIES = make_cities(
    [(-350, 350), (10, -20), (171, -226), (0, 0), (-1800, 900), (5, 5)],
    city_ids=np.array([7, 12, 865, 1000, 4321, 9999]),
    names=np.array(["Atlantis_001", "Atlantis_002", "Windhoek", "Null Island", "Nome", "Lagos"]),
    country_codes=np.array(["XX0", "XX0", "NA", "XX1", "US", "NG"]),
    regions=np.array(["Atlantis", "Atlantis", "Africa", "Oceania", "North America", "Africa"]),
)
