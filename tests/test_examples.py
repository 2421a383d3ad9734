"""The examples in the docstrings of public names are true, and leave nothing behind."""

import doctest

import pytest

import backlight

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def examples_of(name):
    """Find the examples of a public name; they see what the module sees that has it."""
    return doctest.DocTestFinder().find(getattr(backlight, name), name)


@pytest.mark.parametrize("name", sorted(backlight.__all__))
def test_the_examples_of_a_public_name_are_true(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = []

    for example in examples_of(name):
        doctest.DocTestRunner(optionflags=OPTIONS).run(example, out=told.append)

    assert told == [], "".join(told)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", sorted(backlight.__all__))
def test_every_public_name_has_an_example(name):
    (own,) = [found for found in examples_of(name) if found.name == name]

    assert own.examples, f"backlight.{name} has no `>>>` example in its docstring"
