import numpy as np
from matplotlib import colormaps

from backlight.surveys.tokens.figures.colouring import Colouring
from backlight.tables import Table


def prompts(**columns):
    return Table(name="prompts", columns={name: np.array(each) for name, each in columns.items()})


def test_numbers_are_coloured_from_dark_to_bright():
    colouring = Colouring.of(prompts(answer_value=[1.0, 3.0, 2.0]), "answer_value")

    viridis = colormaps["viridis"]
    assert np.allclose(colouring.colours, [viridis(0.0), viridis(1.0), viridis(0.5)], atol=0.01)
    assert colouring.label == "answer"
    assert colouring.bar() is not None


def test_a_number_that_is_not_known_is_grey():
    colouring = Colouring.of(prompts(distance=[1.0, np.nan, 2.0]), "distance")

    red, green, blue, _ = colouring.colours[1]
    assert max(red, green, blue) - min(red, green, blue) < 0.1


def test_equal_numbers_have_a_scale_all_the_same():
    norm = Colouring.of(prompts(distance=[4.0, 4.0]), "distance").norm

    assert (norm.vmin, norm.vmax) == (3.5, 4.5)


def test_numbers_none_of_which_is_known_have_a_scale():
    assert Colouring.of(prompts(distance=[np.nan]), "distance").norm is not None


def test_words_have_a_colour_each_the_most_frequent_first():
    colouring = Colouring.of(prompts(region=["Asia", "Africa", "Asia"]), "region")

    assert list(colouring.groups) == ["Asia", "Africa"]
    assert colouring.colours.tolist() == [
        colouring.groups["Asia"],
        colouring.groups["Africa"],
        colouring.groups["Asia"],
    ]
    assert colouring.bar() is None


def test_after_ten_words_all_are_other():
    words = [f"word{number:02}" for number in range(12)]

    colouring = Colouring.of(prompts(word=words), "word")

    assert list(colouring.groups) == [*words[:10], "other"]
    assert set(colouring.order[10:]) == {10.0}


def test_a_word_that_is_called_other_keeps_its_own_colour():
    colouring = Colouring.of(prompts(word=["other", "x"]), "word")

    assert len(set(colouring.colours.tolist())) == 2


def test_without_a_column_all_are_alike():
    colouring = Colouring.of(prompts(answer=["a", "b"]), None)

    assert len(set(colouring.colours.tolist())) == 1
    assert (colouring.label, colouring.groups, colouring.bar()) == ("", {}, None)


def test_splits_have_markers_if_there_are_two():
    colouring = Colouring.of(prompts(split=["train", "test", "train"]), None)

    samples = [(point.get_marker(), name) for point, name in colouring.samples()]
    assert samples == [("o", "train"), ("^", "test")]


def test_one_split_needs_no_markers():
    colouring = Colouring.of(prompts(split=["train", "train"]), None)

    assert set(colouring.splits.tolist()) == {""}
    assert colouring.samples() == []


def test_a_word_that_is_called_other_is_not_taken_for_the_rest():
    words = ["other", "other", *[f"word{number:02}" for number in range(12)]]

    colouring = Colouring.of(prompts(word=words), "word")

    assert next(iter(colouring.groups)) == "other"
    assert list(colouring.groups)[-1] == "all others"
