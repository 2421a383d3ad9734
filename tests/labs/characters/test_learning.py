"""What the trainings of the experiments share."""

import numpy as np
import pytest
import torch

from backlight.data.characters import characters_of
from backlight.errors import ConfigError, DatasetError, NonFiniteError
from backlight.labs.characters.learning import (
    Lesson,
    learn,
    make_network,
    open_text,
    validation_loss,
)
from backlight.labs.frame.options import CharacterOptions
from backlight.learning_rules import RULES
from zoo.characters import nanogpt_files

WORDS = "the quick brown fox jumps over the lazy dog. "
TEXT = characters_of(WORDS * 40)
CONFIG = CharacterOptions(
    block_size=16, batch_size=4, n_layer=1, n_head=2, n_embd=16, num_steps=40, learning_rate=0.01
)
CPU = torch.device("cpu")


def test_every_rule_begins_with_the_same_weights_and_reads_the_same_batches():
    weights = [
        torch.cat(
            [p.detach().flatten() for p in make_network(CONFIG, TEXT, 3, method=rule).parameters()]
        )
        for rule in RULES
    ]
    assert all(torch.equal(weights[0], other) for other in weights)
    first, second = (Lesson(CONFIG, TEXT, 3, CPU) for _ in range(2))
    torch.rand(5)
    assert torch.equal(first.draw()[0], second.draw()[0])


def test_a_network_learns_and_what_is_observed_changes_nothing():
    seen = []
    plain, watched = (make_network(CONFIG, TEXT, 1) for _ in range(2))
    losses = learn(plain, Lesson(CONFIG, TEXT, 1, CPU))
    observe = {step: lambda step=step: seen.append(step) for step in (0, 7, 40)}
    again = learn(watched, Lesson(CONFIG, TEXT, 1, CPU), observe=observe)
    assert seen == [0, 7, 40]
    assert np.array_equal(losses, again)
    assert losses[-5:].mean() < losses[0] - 0.5


def test_divergence_says_at_which_step():
    config = CONFIG.model_copy(update={"learning_rate": 1e30})
    model = make_network(config, TEXT, 1)
    with pytest.raises(
        NonFiniteError, match=r"diverged: the loss is \w+ at step \d+ \(bp, softmax"
    ):
        learn(model, Lesson(config, TEXT, 1, CPU))


def test_the_validation_loss_is_the_mean_over_the_windows():
    model = make_network(CONFIG, TEXT, 1).eval()
    val, size = torch.from_numpy(TEXT.val.astype(np.int64)), CONFIG.block_size
    starts = np.linspace(0, len(val) - size - 1, -(-(len(val) - size) // size)).astype(int)
    losses = [model(val[None, s : s + size], val[None, s + 1 : s + size + 1])[1] for s in starts]
    assert validation_loss(model, TEXT) == pytest.approx(
        float(torch.stack(losses).detach().mean()), rel=1e-5
    )
    assert not model.training


def test_a_text_whose_last_part_is_too_short_is_refused():
    short = characters_of("abc" * 10)
    with pytest.raises(DatasetError, match=r"has 3 characters, too few for one sequence of 16"):
        validation_loss(make_network(CONFIG, short, 1), short)


def test_a_text_and_a_folder_exclude_each_other(tmp_path):
    with pytest.raises(ConfigError, match="--text and --data_dir exclude each other"):
        open_text(CharacterOptions(text=tmp_path / "a.txt", data_dir=tmp_path))


def test_text_comes_from_a_file_a_folder_or_the_package(tmp_path):
    (tmp_path / "a.txt").write_text(WORDS)
    assert open_text(CharacterOptions(text=tmp_path / "a.txt")).vocabulary == TEXT.vocabulary
    for name, content in nanogpt_files(TEXT).items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "b.txt").write_bytes((tmp_path / "a.txt").read_text().encode("utf-16"))
    assert open_text(CharacterOptions(text=tmp_path / "b.txt")).vocabulary == TEXT.vocabulary
    assert np.array_equal(open_text(CharacterOptions(data_dir=tmp_path)).train, TEXT.train)
    assert len(open_text(CharacterOptions()).train) > 1e6


def test_a_text_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"There is no file '.*none\.txt'"):
        open_text(CharacterOptions(text=tmp_path / "none.txt"))


def test_characters_outside_the_vocabulary_are_named():
    with pytest.raises(
        DatasetError, match=r"1 characters of the text are not in the vocabulary.*'Q'"
    ):
        TEXT.encode("the Quick")
