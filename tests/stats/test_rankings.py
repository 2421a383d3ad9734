"""What other tools rank by is recorded as a dense computation has it, and ranked as they do."""

import numpy as np
import pytest
import torch

from backlight.stats.activity import Activity, Firing
from backlight.stats.rankings import Fired, crisp, dsg, saebench

FEATURES = 300
PASSAGES = (7, 12, 1, 5)


def drawn(seed, *, strength=1.0):
    """Activations of every feature at every token, which tokens are first, and which are text."""
    random = np.random.default_rng(seed)
    first = np.concatenate([[True, *[False] * (length - 1)] for length in PASSAGES * 8])
    text = random.random(len(first)) > 0.1
    threshold = random.uniform(0.5, 3.5, FEATURES) / strength
    dense = np.maximum(random.normal(size=(len(first), FEATURES)) - threshold, 0)
    dense[:, :5] = -dense[:, :5]  # as those of an encoder that keeps signs
    return dense, first, text


def firing(dense, first, text):
    tokens, features = np.nonzero(dense)
    return Firing(
        values=torch.from_numpy(dense[tokens, features]),
        features=torch.from_numpy(features),
        tokens=torch.from_numpy(tokens),
        after_first=torch.from_numpy(~first),
        in_text=torch.from_numpy(text),
    )


def recorded(*parts):
    activity = Activity(FEATURES)
    for part in parts:
        activity.update(firing(*part))
    return activity


def cut(drawing, at):
    return tuple(part[:at] for part in drawing), tuple(part[at:] for part in drawing)


def test_counts_and_sums_are_those_of_dense_activations():
    dense, first, text = drawn(0)

    found = recorded((dense, first, text)).result()

    np.testing.assert_array_equal(found["activity_tokens"], [(~first).sum(), text.sum()])
    np.testing.assert_array_equal(found["active_after_first"], (dense[~first] > 0).sum(0))
    np.testing.assert_allclose(found["sum_after_first"], dense[~first].sum(0))
    np.testing.assert_array_equal(found["active_in_text"], (dense[text] > 0).sum(0))
    np.testing.assert_allclose(found["square_in_text"], np.square(dense[text]).sum(0))


def test_merging_and_restoring_are_as_seeing_all_at_once():
    start, end = cut(drawn(0), 60)
    merged, whole, again = recorded(start), recorded(start, end), Activity(FEATURES)

    merged.merge(recorded(end))
    again.restore({name: array.copy() for name, array in recorded(start).state().items()})
    again.update(firing(*end))

    for name, array in whole.state().items():
        np.testing.assert_allclose(merged.state()[name], array, rtol=1e-12)
        np.testing.assert_array_equal(again.state()[name], array)


def fired(*drawing):
    return Fired.of(recorded(drawing).result())


def crisp_by_hand(target, benign, k):
    """CRISP's selection over whole tensors, in raw counts of tokens."""
    (t, t_first, _), (b, b_first, _) = target, benign
    t, b = t[~t_first], b[~b_first]
    target_count, benign_count = (t > 0).sum(0), (b > 0).sum(0)
    active = [i for i in range(FEATURES) if target_count[i] or benign_count[i]]
    active.sort(key=lambda i: int(target_count[i]) - int(benign_count[i]), reverse=True)
    relative = t.sum(0) / (b.sum(0) + 1)
    return [i for i in active[: k * 10] if relative[i] >= 3][:k]


def saebench_by_hand(forget, retain, k):
    """SAEBench's selection: frequencies, a threshold, a sort."""
    (f, _, f_text), (r, _, r_text) = forget, retain
    score, kept = (f[f_text] > 0).mean(0), (r[r_text] > 0).mean(0) < 0.01
    found = sorted(np.flatnonzero(kept & (score > 0)), key=lambda i: -score[i])
    return found[:k]


def dsg_by_hand(forget, retain, k):
    """The selection of Dynamic SAE Guardrails, with the mean of squares that the paper names."""
    (f, _, f_text), (r, _, r_text) = forget, retain
    score, other = np.square(f[f_text]).mean(0), np.square(r[r_text]).mean(0)
    ratio = score / (other + 1e-21)
    kept = (score >= np.percentile(score, 5)) & (ratio >= np.percentile(ratio, 95))
    return sorted(np.flatnonzero(kept), key=lambda i: -score[i])[:k]


BY_HAND = {crisp: crisp_by_hand, saebench: saebench_by_hand, dsg: dsg_by_hand}


@pytest.mark.parametrize("count", [3, 10, 25])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rank", BY_HAND, ids=lambda each: each.__name__)
def test_lists_of_texts_of_one_length_are_the_tools_own(rank, seed, count):
    forget, retain = drawn(seed, strength=1.5), drawn(seed + 100)

    found = rank(fired(*forget), fired(*retain), count=count)

    assert found.features.tolist() == [int(i) for i in BY_HAND[rank](forget, retain, count)]
    assert len(found.features) > 1
    assert (np.diff(found.score) <= 0).all()


@pytest.mark.parametrize("rank", BY_HAND, ids=lambda each: each.__name__)
def test_a_text_that_is_read_three_times_does_not_change_a_list(rank):
    forget, retain = drawn(1, strength=1.5), drawn(101)
    thrice = tuple(np.concatenate([part] * 3) for part in forget)

    once = rank(fired(*forget), fired(*retain), count=10)
    again = rank(fired(*thrice), fired(*retain), count=10)

    assert once.features.tolist() == again.features.tolist()
    np.testing.assert_allclose(once.score, again.score, rtol=1e-12)


@pytest.mark.parametrize("rank", BY_HAND, ids=lambda each: each.__name__)
def test_features_that_never_fire_in_the_text_are_in_no_list(rank):
    dense, first, text = drawn(1)
    dense[:, 10:] = 0

    found = rank(fired(dense, first, text), fired(np.zeros_like(dense), first, text), count=300)

    assert set(found.features.tolist()) <= set(range(5, 10)) | (
        set(range(5)) if rank is dsg else set()
    )
