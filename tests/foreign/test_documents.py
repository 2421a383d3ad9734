import time
from pathlib import Path

import pytest

from backlight.errors import ConfigError
from backlight.foreign.documents import parse_json, read_json
from backlight.foreign.yaml_text import parse_yaml, read_yaml

_BOMB = "seed: [&a [1,1,1,1,1,1,1,1,1,1], " + ", ".join(
    f"&{new} [{','.join([f'*{old}'] * 10)}]" for old, new in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (_BOMB + "]", "with its aliases written out it holds more than 1,000,000 values"),
        ("[" * 100_000, "it is nested more than 64 levels deep"),
        ("{a: " * 100_000, "it is nested more than 64 levels deep"),
        ("- " * 50_000 + "x", "it is nested more than 64 levels deep"),
        ("a: 1\nb: 2\na: 3", "the key 'a' is there twice"),
        ("x: {a: 1, 'a': 2}", "the key 'a' is there twice"),
        ("a: &a [*a]", "the alias 'a' means nothing, or what it stands in"),
        ("a: *b", "alias"),
        ("a: " + "9" * 5000, "limit"),
        ("a: !!python/object/apply:os.system ['x']", "could not determine a constructor"),
        ("a: !!int foo", "invalid literal"),
        ("a: !!int ''", "a value does not fit its tag"),
        ("a: !!bool foo", "a value does not fit its tag"),
        ("a: !!timestamp foo", "a value does not fit its tag"),
        ("a: 2024-99-99", "month must be in 1..12"),
        ("? [a, b]\n: 1", "unhashable"),
        ("a: [1, 2", "cannot be read as YAML"),
        ("a: \x07", "cannot be read as YAML"),
        ("\ta: 1", "cannot be read as YAML"),
    ],
)
def test_yaml_that_is_no_use_is_one_sentence_at_once(text, told):
    started = time.monotonic()
    with pytest.raises(ConfigError, match=told) as caught:
        parse_yaml(text, "'x.yaml'", error=ConfigError)
    assert time.monotonic() - started < 2
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


def test_the_bomb_of_the_field_is_refused():
    bomb = Path(__file__).parent / "bomb.yaml"
    with pytest.raises(ConfigError, match="more than 1,000,000 values"):
        read_yaml(bomb, error=ConfigError)


def test_aliases_in_measure_and_merged_mappings_are_read():
    text = "base: &base {a: 1, b: [2, 3]}\nother:\n  <<: *base\n  a: 5\nlist: [*base, *base]\n"

    found = parse_yaml(text, "'x.yaml'", error=ConfigError)

    assert found["other"] == {"a": 5, "b": [2, 3]}
    assert found["list"] == [{"a": 1, "b": [2, 3]}] * 2


def test_the_same_word_may_be_key_and_value():
    found = parse_yaml("{a: b, b: a, c: {a: 1}}", "'x'", error=ConfigError)
    assert found == {"a": "b", "b": "a", "c": {"a": 1}}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[" * 100_000, "it is nested too deeply"),
        ('{"a": 1, "a": 2}', "the key 'a' is there twice"),
        ('{"a": ' + "9" * 5000 + "}", "limit"),
        ('{"a": 1', "Expecting"),
        ("", "Expecting value"),
    ],
)
def test_json_that_is_no_use_is_one_sentence(text, told):
    with pytest.raises(ConfigError, match=f"'x.json' cannot be read as JSON: .*{told}"):
        parse_json(text, "'x.json'", error=ConfigError)


def test_a_huge_file_is_not_read(tmp_path):
    path = tmp_path / "x.yaml"
    with path.open("wb") as file:
        file.truncate(50 * 2**20)

    for reader in (read_yaml, read_json):
        with pytest.raises(ConfigError, match=r"has 50 MB, but a file of its kind has 1.0 MB"):
            reader(path, error=ConfigError, most=2**20)
