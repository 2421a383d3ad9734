"""What is shipped of the city world: its cities, and a small model that answers about them."""

from pathlib import Path

__all__ = ["CITIES", "CITY_MODEL"]

CITIES = Path(__file__).parent / "cities.csv"
"""The cities: GeoNames (CC BY 4.0) and Atlantis; see the README beside it."""

CITY_MODEL = Path(__file__).parent / "city_model"
"""The folder of the model's checkpoints; see the card in it."""
