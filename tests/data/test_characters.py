"""Characters as nanoGPT keeps them."""

import json
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from backlight.data.characters import (
    Characters,
    characters_of,
    draw_batch,
    read_characters,
    shipped_text,
)
from backlight.errors import DatasetError
from zoo.characters import nanogpt_files

TEXT = "To be, or not to be: that is the question.\n" * 5


def write(folder, files):
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def same(one, other):
    return (
        one.vocabulary == other.vocabulary
        and np.array_equal(one.train, other.train)
        and np.array_equal(one.val, other.val)
    )


def nanogpt_meta(found):
    return {
        "vocab_size": len(found.vocabulary),
        "itos": dict(enumerate(found.vocabulary)),
        "stoi": {character: number for number, character in enumerate(found.vocabulary)},
    }


@given(st.text(min_size=2, max_size=200))
def test_a_text_comes_back_from_its_numbers_in_two_parts(text):
    found = characters_of(text)
    assert found.decode(found.train) + found.decode(found.val) == text
    assert len(found.train) == int(0.9 * len(text))
    assert found.vocabulary == tuple(sorted(set(text)))
    assert found.train.dtype == found.val.dtype == np.uint16


@given(st.text(min_size=2, max_size=200))
def test_a_folder_that_was_written_is_read_as_it_was(tmp_path_factory, text):
    found = characters_of(text)
    folder = write(tmp_path_factory.mktemp("characters"), nanogpt_files(found))
    assert same(read_characters(folder), found)


def test_the_form_is_nanogpts(tmp_path):
    files = nanogpt_files(characters_of("abcabcabca" * 2))
    assert files["train.bin"][:8] == bytes([0, 0, 1, 0, 2, 0, 0, 0])
    assert len(files["train.bin"]) == 36
    assert len(files["val.bin"]) == 4
    assert json.loads(files["meta.json"]) == {
        "vocab_size": 3,
        "itos": ["a", "b", "c"],
        "stoi": {"a": 0, "b": 1, "c": 2},
    }


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_folder_that_nanogpt_prepared_is_read(tmp_path, protocol):
    found = characters_of(TEXT)
    files = nanogpt_files(found)
    del files["meta.json"]
    files["meta.pkl"] = pickle.dumps(nanogpt_meta(found), protocol=protocol)
    assert same(read_characters(write(tmp_path, files)), found)


class Harmful:
    def __reduce__(self):
        return (print, ("this must never run",))


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps({"itos": Harmful()}),
        pickle.dumps({"itos": np.arange(3)}),
        b"",
        b"not a pickle",
        pickle.dumps({"itos": {0: "a"}})[:-5],
        b"\x80\x04\x95",
    ],
    ids=["calls", "numpy", "empty", "text", "cut", "frame"],
)
def test_a_pickle_of_anything_else_is_refused_and_runs_nothing(tmp_path, content, capsys):
    files = {**nanogpt_files(characters_of(TEXT)), "meta.pkl": content}
    del files["meta.json"]
    write(tmp_path, files)
    with pytest.raises(DatasetError, match=r"meta.pkl' is not the pickle of a plain dictionary"):
        read_characters(tmp_path)
    assert capsys.readouterr().out == ""


@given(st.binary(max_size=60))
def test_no_bytes_whatever_break_the_reader_of_pickles(tmp_path_factory, content):
    files = {**nanogpt_files(characters_of(TEXT)), "meta.pkl": content}
    del files["meta.json"]
    folder = write(tmp_path_factory.mktemp("pickles"), files)
    with pytest.raises(DatasetError, match=r"meta.pkl"):
        read_characters(folder)


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        (b"{", r"meta.json' is not JSON"),
        (b"[1]", r"does not say in 'itos' which characters there are"),
        (b'{"itos": {"0": "a"}}', r"does not say in 'itos' which characters there are"),
        (b'{"itos": []}', r"does not say in 'itos'"),
        (b'{"itos": ["a", "a"]}', r"'itos' must be single characters, each once"),
        (b'{"itos": ["a", "bc"]}', r"'itos' must be single characters, each once"),
        (b'{"itos": ["a", 3]}', r"'itos' must be single characters, each once"),
        (b'{"itos": ["a", "b"]}', r"holds the number \d+, and its vocabulary has only 2 char"),
    ],
)
def test_a_damaged_list_of_characters_is_refused(tmp_path, meta, message):
    write(tmp_path, {**nanogpt_files(characters_of(TEXT)), "meta.json": meta})
    with pytest.raises(DatasetError, match=message):
        read_characters(tmp_path)


def test_missing_and_cut_files_are_named(tmp_path):
    with pytest.raises(DatasetError, match="There is no folder"):
        read_characters(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match=r"There is neither meta.json nor meta.pkl in"):
        read_characters(tmp_path)
    files = nanogpt_files(characters_of(TEXT))
    write(tmp_path, files)
    (tmp_path / "val.bin").write_bytes(files["val.bin"][:-1])
    with pytest.raises(DatasetError, match=r"val.bin' is cut off: it has \d+ bytes, an odd number"):
        read_characters(tmp_path)
    (tmp_path / "val.bin").unlink()
    with pytest.raises(DatasetError, match=r"There is no val.bin in .* has train.bin, val.bin and"):
        read_characters(tmp_path)


def test_characters_outside_the_vocabulary_are_named():
    found = characters_of("hello, world")
    assert found.encode("hold").tolist() == [4, 6, 5, 2]
    with pytest.raises(
        DatasetError, match=r"2 characters of the text .* vocabulary of 9: 'A', 'é'"
    ):
        found.encode("Aé hello")


def test_a_text_too_short_or_too_rich_is_refused():
    with pytest.raises(DatasetError, match="text of 1 characters cannot be cut into two parts"):
        characters_of("a")
    rich = "".join(map(chr, range(0x10000, 0x10000 + 2**16 + 1)))
    with pytest.raises(DatasetError, match="65537 different characters; 65536 are the most"):
        characters_of(rich)


def test_batches_are_drawn_as_the_document_draws_them():
    numbers = characters_of(TEXT).train
    x, y = draw_batch(
        numbers, block_size=8, batch_size=6, generator=torch.Generator().manual_seed(1337)
    )
    starts = torch.randint(
        len(numbers) - 8 - 1, (6,), generator=torch.Generator().manual_seed(1337)
    )
    expected = [numbers[start : start + 9].astype(np.int64).tolist() for start in starts]
    assert x.tolist() == [row[:-1] for row in expected]
    assert y.tolist() == [row[1:] for row in expected]
    assert x.dtype == y.dtype == torch.int64


def test_without_a_generator_the_seed_of_torch_counts():
    numbers = characters_of(TEXT).train
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(draw_batch(numbers, block_size=8, batch_size=6)[0])
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_a_text_shorter_than_a_sequence_is_refused():
    numbers = np.zeros(9, dtype=np.uint16)
    assert draw_batch(numbers, block_size=7, batch_size=2)[0].shape == (2, 7)
    with pytest.raises(
        DatasetError, match="9 characters is too short for sequences of 8: it takes"
    ):
        draw_batch(numbers, block_size=8, batch_size=2)


def test_the_shipped_text_is_characters():
    text = shipped_text()
    found = characters_of(text)
    assert len(text) > 1_000_000
    assert isinstance(found, Characters)
    assert len(found.vocabulary) < 100
