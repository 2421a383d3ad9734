"""The bank: what stands at pads is ignored, and a state can be merged and taken up again."""

import numpy as np
import torch

from backlight.stats.bank import Bank


def batch(seed, lengths=(4, 2), width=3):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(len(lengths), max(lengths), width, generator=generator)
    valid = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return values, valid


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_what_stands_at_pads_is_ignored():
    values, valid = batch(0)
    garbage, clean = Bank(), Bank()

    garbage.update("a", values.masked_fill(~valid[..., None], 1e9), valid=valid, passages=(0, 1))
    clean.update("a", values.masked_fill(~valid[..., None], 0.0), valid=valid, passages=(0, 1))

    assert_same(garbage.state(), clean.state())


def test_summaries_are_of_each_token_over_its_dimensions():
    values, valid = batch(1)
    bank = Bank()

    bank.update("a", values, valid=valid, passages=(0, 1))

    tokens = values[valid].double().numpy()
    expected = [
        tokens.mean(),
        np.abs(tokens).mean(),
        (tokens**2).mean(),
        np.linalg.norm(tokens, axis=1).mean(),
    ]
    np.testing.assert_allclose(bank.result("a").summaries.mean, expected, rtol=1e-6)


def test_a_restored_bank_goes_on_bit_by_bit():
    whole, begun, restored = Bank(), Bank(), Bank()
    for bank, seeds in ((whole, (0, 1)), (begun, (0,))):
        for seed in seeds:
            for site in ("layers.0.mlp.out", "layers.1.mlp.out"):
                values, valid = batch(seed)
                bank.update(site, values, valid=valid, passages=(2 * seed, 2 * seed + 1))
    restored.restore(begun.state())
    for site in ("layers.0.mlp.out", "layers.1.mlp.out"):
        values, valid = batch(1)
        restored.update(site, values, valid=valid, passages=(2, 3))

    assert_same(restored.state(), whole.state())


def test_merging_takes_in_sites_of_other_widths_too():
    first, second = Bank(), Bank()
    values, valid = batch(0)
    first.update("a", values, valid=valid, passages=(0, 1))
    wider, _ = batch(1, width=5)
    second.update("b", wider, valid=valid, passages=(2, 3))

    first.merge(second)

    assert first.result("a").moments.mean.shape == (3,)
    assert first.result("b").moments.mean.shape == (5,)
