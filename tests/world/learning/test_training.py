"""The number of cities that are asked about."""

from backlight.world.learning.training import GrowingCities


def after(growing, losses):
    for loss in losses:
        growing.update(loss)
    return growing.number


def test_cities_become_more_only_while_the_loss_is_low():
    growing = GrowingCities(100, 1000, below=1.5, rate=0.1)
    assert growing.number == 100
    assert after(growing, [2.0] * 50) == 100
    assert after(growing, [1.6] * 500) == 100
    assert after(growing, [1.0] * 30) > 110


def test_one_lucky_step_is_not_enough():
    growing = GrowingCities(100, 1000, below=1.5, rate=0.1)
    assert after(growing, [2.0] * 20 + [0.5]) == 100


def test_growth_ends_with_all_cities():
    growing = GrowingCities(10, 64, below=1.5, rate=0.5)
    assert after(growing, [1.0] * 3) == int(10 * 1.5**3)
    assert after(growing, [1.0] * 30) == 64


def test_there_are_never_more_first_cities_than_there_are():
    assert GrowingCities(100, 7, below=1.5, rate=0.5).number == 7


def test_a_restored_growth_goes_on_as_if_nothing_had_been():
    losses = [1.9, 1.7, 1.2, 1.1, 1.3, 1.0] * 10
    straight = GrowingCities(10, 1000, below=1.4, rate=0.03)
    after(straight, losses)
    first = GrowingCities(10, 1000, below=1.4, rate=0.03)
    after(first, losses[:25])
    second = GrowingCities(10, 1000, below=1.4, rate=0.03)
    second.load(first.state())
    after(second, losses[25:])
    assert second.number == straight.number
    assert (second.state() == straight.state()).all()
