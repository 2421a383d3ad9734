"""Tokens that are kept on disk."""

import tempfile

import numpy as np
import pytest

from backlight.data import batches
from backlight.data.batches import Batch, Passages, bucket, tokenize
from backlight.data.stored import StoredTokens, lengths_of, stored
from backlight.errors import DatasetError, StorageError


def passages(num, *, seed=0):
    random = np.random.default_rng(seed)
    return [random.integers(0, 2**31, size=random.integers(2, 60)) for _ in range(num)]


class Letters:
    """A tokenizer: each letter is a token."""

    def __call__(self, text, *, truncation, max_length):
        del truncation
        return {"input_ids": [ord(letter) for letter in text[:max_length]]}


def on_disk(given):
    found = stored(iter(given), most=0)
    assert isinstance(found, StoredTokens)
    return found


def test_few_tokens_stay_in_memory_as_they_are():
    given = passages(9)

    found = stored(iter(given), most=sum(map(len, given)))

    assert isinstance(found, list)
    assert all(one is other for one, other in zip(found, given, strict=True))


@pytest.mark.parametrize("num", [1, 30, 4000])
def test_many_tokens_come_back_from_disk(num):
    given = passages(num)

    found = on_disk(given)

    assert len(found) == num
    assert lengths_of(found).tolist() == [len(each) for each in given]
    for one, other in zip(found, given, strict=True):
        assert one.dtype == np.int64
        assert one.tolist() == other.tolist()


def test_some_of_them_can_be_chosen_and_cut_without_being_read():
    given = passages(9)

    found = on_disk(given)[2:8:2].cut(5)

    assert [each.tolist() for each in found] == [each[:5].tolist() for each in given[2:8:2]]
    assert found[-1].tolist() == given[6][:5].tolist()


def test_a_corpus_on_disk_has_the_batches_and_the_hash_of_one_in_memory():
    given = passages(100)
    memory, disk = Passages(tokens=given), Passages(tokens=on_disk(given))

    order = bucket(memory, batch_size=4, seed=3)

    assert bucket(disk, batch_size=4, seed=3) == order
    assert disk.fingerprint() == memory.fingerprint()
    assert (disk.num_tokens, disk.num_predicted) == (memory.num_tokens, memory.num_predicted)
    one, other = (Batch.of(each, order[0]).input_ids for each in (memory, disk))
    assert one.dtype == other.dtype
    assert one.tolist() == other.tolist()
    cut = [each[:7].tolist() for each in given]
    assert [each.tolist() for each in disk.cut(7).tokens] == cut


def test_a_text_of_many_tokens_goes_to_disk(monkeypatch):
    monkeypatch.setattr(batches, "stored", lambda rows: stored(rows, most=9))

    found = tokenize(["abc", "x", "defghij", "kl"], Letters(), max_length=5)

    assert isinstance(found.tokens, StoredTokens)
    assert ["".join(map(chr, each)) for each in found.tokens] == ["abc", "defgh", "kl"]
    assert found.account()["num_cut"] == 1
    assert found.left_out == {"fewer_than_two_tokens": 1}


def test_the_file_leaves_nothing_behind(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    found = on_disk(passages(9))

    assert list(tmp_path.iterdir()) == []
    assert len(found[8]) > 1


def test_a_folder_that_cannot_be_written_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))

    with pytest.raises(StorageError, match=r"cannot be kept in .*nowhere.*set TMPDIR"):
        on_disk(passages(2))


def test_an_id_that_is_too_large_is_refused_instead_of_being_another():
    with pytest.raises(DatasetError, match="The token id 4294967297 is none that any model has"):
        on_disk([np.array([1, 2**32 + 1])])


@pytest.mark.parametrize("batch_size", [1, 4, 7])
def test_more_passages_are_sorted_within_windows(batch_size, monkeypatch):
    monkeypatch.setattr(batches, "SORTED_TOGETHER", 16)
    given = Passages(tokens=passages(100))

    found = bucket(given, batch_size=batch_size, seed=2)

    assert sorted(member for members in found for member in members) == list(range(100))
    assert sum(len(members) < batch_size for members in found) <= 1
    whole = np.random.default_rng(2).permutation(100)
    window = 16 // batch_size * batch_size
    for members in found:
        places = [int(np.flatnonzero(whole == member)[0]) // window for member in members]
        assert len(set(places)) == 1
        lengths = [len(given.tokens[member]) for member in members]
        assert lengths == sorted(lengths, reverse=True)


def test_as_many_passages_as_a_window_has_are_sorted_as_a_whole(monkeypatch):
    given = Passages(tokens=passages(100))
    expected = bucket(given, batch_size=7, seed=2)

    monkeypatch.setattr(batches, "SORTED_TOGETHER", 100)

    assert bucket(given, batch_size=7, seed=2) == expected
