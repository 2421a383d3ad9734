import numpy as np
import pytest
import torch

from backlight.data.batches import Batch, Passages
from backlight.models.sites import Site, Tap
from backlight.stats.aggregate import participation_ratio, top_share
from backlight.surveys.driver.contexts import write_contexts
from backlight.surveys.driver.dimensions import UNITS
from backlight.surveys.layers.measure.profile import Profile
from backlight.surveys.layers.tables import (
    dimension_table,
    histogram_table,
    layer_table,
    site_results,
    top_token_table,
)

LENGTHS = (7, 3, 12, 5)
WIDTH = 10
LAYERS = (1, 4)
PASSAGES = Passages(
    tokens=[100 * row + np.arange(length) for row, length in enumerate(LENGTHS, start=1)]
)


def site(layer):
    return Site(
        name=f"layers.{layer}.mlp.out",
        tap=Tap(module=f"layers.{layer}.mlp", side="output"),
        width=WIDTH,
    )


def stream(values, passages=PASSAGES):
    """Feed rows of numbers, one tensor for each passage, to a profile of layers 1 and 4."""
    state = Profile()
    for start in range(0, len(passages.tokens), 2):
        members = tuple(range(start, min(start + 2, len(passages.tokens))))
        batch = Batch.of(passages, members)
        for layer in LAYERS:
            padded = torch.nn.utils.rnn.pad_sequence(
                [values[layer][member] for member in members], batch_first=True
            )
            state.bank.update(site(layer).name, padded, valid=batch.valid, passages=batch.passages)
    return state


@pytest.fixture
def values():
    """Numbers for each layer, passage, token and dimension."""
    return {
        layer: [torch.randn(length, WIDTH, dtype=torch.float64) * layer for length in LENGTHS]
        for layer in LAYERS
    }


@pytest.fixture
def results(values):
    """What the profile found, by layer."""
    return site_results(stream(values), [site(layer) for layer in LAYERS])


def dense(values, layer):
    return torch.cat(values[layer]).numpy()


def clustered_error(rows):
    """The error of a mean over tokens, with passages as clusters: the textbook's sum."""
    total, count = sum(row.sum() for row in rows), sum(len(row) for row in rows)
    residuals = [row.sum() - len(row) * total / count for row in rows]
    clusters = len(rows)
    return np.sqrt(clusters / (clusters - 1) * sum(r**2 for r in residuals)) / count


def test_layers_keep_their_numbers_and_order(results):
    assert list(results) == list(LAYERS)
    assert layer_table(results, "gradients")["layer"].tolist() == list(LAYERS)


@pytest.mark.parametrize(("row", "layer"), list(enumerate(LAYERS)))
def test_a_layer_s_numbers_are_averages_over_tokens_and_dimensions(results, values, row, layer):
    table, all_tokens = layer_table(results, "gradients"), dense(values, layer)

    expected = {
        "num_tokens": sum(LENGTHS),
        "num_sequences": len(LENGTHS),
        "num_dimensions": WIDTH,
        "mean": all_tokens.mean(),
        "mean_abs": np.abs(all_tokens).mean(),
        "rms": np.sqrt((all_tokens**2).mean()),
        "norm": np.linalg.norm(all_tokens, axis=1).mean(),
        "max_abs": np.abs(all_tokens).max(),
        "mean_max": np.abs(all_tokens.mean(axis=0)).max(),
        "mean_top": np.abs(all_tokens.mean(axis=0)).argmax(),
        "mean_abs_max": np.abs(all_tokens).mean(axis=0).max(),
        "mean_abs_top": np.abs(all_tokens).mean(axis=0).argmax(),
        "mean_abs_std": np.abs(all_tokens).mean(axis=0).std(),
        "rms_top": (all_tokens**2).mean(axis=0).argmax(),
        "sign_consistency": (
            np.abs(all_tokens.mean(axis=0)) / np.abs(all_tokens).mean(axis=0)
        ).mean(),
        "participation_ratio": participation_ratio((all_tokens**2).mean(axis=0)),
        "top_share": np.abs(all_tokens).mean(axis=0).max() / np.abs(all_tokens).mean(axis=0).sum(),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(table[name][row], value, rtol=1e-9, err_msg=name)


@pytest.mark.parametrize(("row", "layer"), list(enumerate(LAYERS)))
def test_a_layer_s_errors_are_clustered_by_passage(results, values, row, layer):
    table = layer_table(results, "gradients")
    by_passage = [passage.numpy() for passage in values[layer]]

    expected = {
        "mean_se": clustered_error([p.mean(axis=1) for p in by_passage]),
        "mean_abs_se": clustered_error([np.abs(p).mean(axis=1) for p in by_passage]),
        "norm_se": clustered_error([np.linalg.norm(p, axis=1) for p in by_passage]),
        # The error of a root is that of the square over twice the root.
        "rms_se": clustered_error([(p**2).mean(axis=1) for p in by_passage])
        / (2 * np.sqrt((dense(values, layer) ** 2).mean())),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(table[name][row], value, rtol=1e-7, err_msg=name)


def test_dimensions_are_listed_layer_by_layer(results, values):
    table = dimension_table(results, "gradients")

    assert table["layer"].tolist() == [1] * WIDTH + [4] * WIDTH
    assert table["dimension"].tolist() == [*range(WIDTH), *range(WIDTH)]
    tokens = np.concatenate([dense(values, layer).T for layer in LAYERS])
    np.testing.assert_allclose(table["mean"], tokens.mean(axis=1), rtol=1e-9)
    np.testing.assert_allclose(table["mean_abs"], np.abs(tokens).mean(axis=1), rtol=1e-9)
    np.testing.assert_allclose(table["rms"], np.sqrt((tokens**2).mean(axis=1)), rtol=1e-9)
    np.testing.assert_allclose(table["std"], tokens.std(axis=1), rtol=1e-9)
    np.testing.assert_allclose(table["max_abs"], np.abs(tokens).max(axis=1), rtol=1e-9)
    np.testing.assert_allclose(
        table["sign_consistency"], np.abs(table["mean"]) / table["mean_abs"], rtol=1e-12
    )


def test_a_dimension_s_error_is_clustered_by_passage(results, values):
    table = dimension_table(results, "gradients")

    for name, size in (("mean_se", np.asarray), ("mean_abs_se", np.abs)):
        expected = [
            clustered_error([size(passage.numpy()[:, dimension]) for passage in values[layer]])
            for layer in LAYERS
            for dimension in range(WIDTH)
        ]
        np.testing.assert_allclose(table[name], expected, rtol=1e-7, err_msg=name)


def test_every_number_is_in_the_bin_that_holds_it(results, values):
    table = histogram_table(results, "gradients")

    for layer in LAYERS:
        own = table.select(table["layer"] == layer)
        numbers = dense(values, layer).astype(np.float32).astype(np.float64).ravel()
        assert own["count"].sum() == numbers.size
        positive, negative = own["lower"] >= 0, own["upper"] <= 0
        assert (positive | negative).all()
        for lower, upper, count in zip(
            own["lower"][positive], own["upper"][positive], own["count"][positive], strict=True
        ):
            assert ((numbers >= lower) & (numbers < upper)).sum() == count
        for lower, upper, count in zip(
            own["lower"][negative], own["upper"][negative], own["count"][negative], strict=True
        ):
            assert ((numbers > lower) & (numbers <= upper)).sum() == count


@pytest.mark.parametrize("quantity", list(UNITS))
def test_every_table_carries_the_unit_of_the_quantity(results, quantity):
    unit = UNITS[quantity]
    tables = [
        layer_table(results, quantity),
        dimension_table(results, quantity),
        histogram_table(results, quantity),
        top_token_table(results, quantity, PASSAGES, str),
    ]

    assert tables[0].units["mean"] == tables[0].units["norm_se"] == unit
    assert tables[0].units["participation_ratio"] == "dimensions"
    assert "sign_consistency" not in tables[0].units
    assert "mean_top" not in tables[0].units
    assert tables[1].units["max_abs"] == unit
    assert tables[2].units == {"lower": unit, "upper": unit}
    assert tables[3].units == {"value": unit}
    assert [table.name for table in tables] == ["layers", "dimensions", "histograms", "top_tokens"]


def test_units_are_nats_for_gradients_and_none_of_the_loss_for_values():
    assert UNITS == {
        "gradients": "nats/unit",
        "values": "units",
        "grad_x_act": "nats",
        "fisher": "(nats/unit)^2",
        "hessian_diagonal": "nats/unit^2",
    }


def test_the_five_largest_tokens_of_each_dimension_are_named(results, values):
    table = top_token_table(results, "gradients", PASSAGES, lambda ids: f"{ids[0]}" if ids else "")

    places = [(row, position) for row, length in enumerate(LENGTHS) for position in range(length)]
    for layer in LAYERS:
        for dimension in range(WIDTH):
            own = table.select((table["layer"] == layer) & (table["dimension"] == dimension))
            column = dense(values, layer)[:, dimension]
            order = np.argsort(-np.abs(column))[:5]
            assert own["rank"].tolist() == [1, 2, 3, 4, 5]
            np.testing.assert_allclose(own["value"], column[order])
            found = list(zip(own["passage"].tolist(), own["position"].tolist(), strict=True))
            assert found == [places[index] for index in order]
            assert own["token"].tolist() == [
                str(PASSAGES.tokens[row][position]) for row, position in found
            ]


def test_a_token_is_shown_in_its_context_in_guillemets():
    passages = Passages(tokens=[np.arange(40)])
    peak = torch.zeros(40, WIDTH, dtype=torch.float64)
    peak[20] = 1.0
    found = site_results(stream({1: [peak], 4: [peak]}, passages), [site(1)])

    table = top_token_table(
        found, "gradients", passages, lambda ids: "".join(f"{token} " for token in ids)
    )

    first = table.select(table["rank"] == 1)
    before, after = "8 9 10 11 12 13 14 15 16 17 18 19 ", "21 22 23 24 "
    assert set(first["context"]) == {f"{before}«20 »{after}"}


@pytest.mark.parametrize(
    ("position", "context"),
    [
        (2, "0 1 «2 »⟦3 4 ⟧5 6 "),
        (3, "0 1 2 ⟦«3 »4 ⟧5 6 ⟦7 ⟧"),
        (4, "0 1 2 ⟦3 «4 »⟧5 6 ⟦7 ⟧8 "),
        (16, "⟦4 ⟧5 6 ⟦7 ⟧8 9 10 11 12 13 14 15 «16 »17 18 19 "),
    ],
)
def test_what_the_loss_counts_is_marked_in_contexts(position, context):
    counted = np.isin(np.arange(20), (3, 4, 7))
    passages = Passages(tokens=[np.arange(20)], counted=[counted])

    tokens, contexts = write_contexts(
        [(0, position)], passages, lambda ids: "".join(f"{token} " for token in ids)
    )

    assert (tokens[0], contexts[0]) == (f"{position} ", context)


def test_a_line_break_in_a_token_is_written_out():
    passages = Passages(tokens=[np.array([1, 2])])
    ones = torch.ones(2, WIDTH, dtype=torch.float64)
    found = site_results(stream({1: [ones], 4: [ones]}, passages), [site(1)])

    table = top_token_table(found, "gradients", passages, lambda ids: "a\r\nb" * len(ids))

    assert set(table["token"]) == {r"a\r\nb"}
    assert set(table["context"]) == {r"«a\r\nb»a\r\nb", r"a\r\nb«a\r\nb»"}


def test_fewer_tokens_than_five_are_all_named():
    passages = Passages(tokens=[np.array([1, 2])])
    ones = torch.ones(2, WIDTH, dtype=torch.float64)
    found = site_results(stream({1: [ones], 4: [ones]}, passages), [site(1), site(4)])

    table = top_token_table(found, "gradients", passages, str)

    assert table.num_rows == 2 * 2 * WIDTH
    assert set(table["rank"]) == {1, 2}


def test_a_token_is_decoded_once_however_many_dimensions_it_tops():
    passages = Passages(tokens=[np.arange(6)])
    peak = torch.rand(6, 1, dtype=torch.float64).expand(6, WIDTH).clone()
    found = site_results(stream({1: [peak], 4: [peak]}, passages), [site(1), site(4)])
    calls = []

    top_token_table(found, "gradients", passages, lambda ids: str(calls.append(ids)))

    assert len(calls) == 3 * 5  # before, token and after of five places


def test_a_layer_that_is_always_zero_has_blanks_for_what_is_not_known(values):
    silent = {1: [torch.zeros_like(passage) for passage in values[1]], 4: values[4]}
    found = site_results(stream(silent), [site(layer) for layer in LAYERS])

    table, dimensions = layer_table(found, "gradients"), dimension_table(found, "gradients")

    assert table["mean_abs"][0] == 0
    for name in ("rms_se", "sign_consistency", "participation_ratio", "top_share"):
        assert np.isnan(table[name][0]), name
        assert np.isfinite(table[name][1]), name
    assert np.isnan(dimensions["sign_consistency"][:WIDTH]).all()


def test_one_passage_has_no_standard_error():
    passages = Passages(tokens=[np.arange(6)])
    numbers = torch.randn(6, WIDTH, dtype=torch.float64)
    found = site_results(stream({1: [numbers], 4: [numbers]}, passages), [site(1)])

    assert np.isnan(layer_table(found, "gradients")["mean_abs_se"]).all()
    assert np.isnan(dimension_table(found, "gradients")["mean_se"]).all()


@pytest.mark.parametrize(
    ("energies", "expected"), [([1, 1, 1, 1], 4), ([1, 0, 0, 0], 1), ([3, 1], 1.6)]
)
def test_the_participation_ratio_counts_effective_dimensions(energies, expected):
    assert participation_ratio(np.array(energies, dtype=np.float64)) == pytest.approx(expected)


def test_the_top_share_is_that_of_the_largest_hundredth_rounded_up():
    sizes = np.arange(1.0, 202)  # of 201 dimensions, three

    assert top_share(sizes) == pytest.approx((199 + 200 + 201) / sizes.sum())
    assert top_share(np.array([1.0, 3.0])) == pytest.approx(0.75)
