"""Where there are paths, what they cost, and the table of what they add up to."""

import logging

import numpy as np
import pytest

from backlight.errors import ConfigError, UnsupportedSiteError
from backlight.models.blocks.rerun import Blocks
from backlight.surveys.driver.material.opening import Corpus
from backlight.surveys.driver.paths import completeness_tables, plan_paths, weight_of
from zoo.subjects import passages_of, subject_of


def corpus_of(subject, batches=((0, 1, 2), (3, 4, 5))):
    return Corpus(subject=subject, passages=passages_of(), batches=batches)


def planned(subject, sites, num_nodes=2, layers="all"):
    named = [subject.sites[name] for name in sites]
    corpus = corpus_of(subject)
    return plan_paths(num_nodes, corpus, named, layers=layers, flag="--layers")


def test_without_nodes_there_are_no_paths():
    assert planned(subject_of(), ["layers.0.mlp.out"], num_nodes=None) is None


def test_paths_are_gone_from_a_block_on_and_their_cost_is_said_before(caplog):
    subject = subject_of()
    with caplog.at_level(logging.INFO):
        paths = planned(subject, ["layers.0.mlp.out", "layers.2.mlp.out"], num_nodes=3)

    assert paths.num_nodes == 3
    assert paths.blocks == Blocks.of(subject)
    # 3 x (0.4 + 0.6 + 0.4 + 0.6 / 3)
    assert "3 nodes at 2 sites: about 4.8 passes of the model for each of 2 batches" in caplog.text


def test_more_than_twenty_passes_ask_for_layers_and_propose_some():
    subject = subject_of()
    sites = [f"layers.{layer}.mlp.out" for layer in range(3)]

    message = (
        r"--path 10 at 3 sites takes about 24 passes of the model for each batch, more than 20, "
        r".*Name the layers: --layers 0,2 takes 16, --layers 0-2 takes all"
    )
    with pytest.raises(ConfigError, match=message):
        planned(subject, sites, num_nodes=10)

    assert planned(subject, sites, num_nodes=10, layers="0-2") is not None
    assert planned(subject, sites[:2], num_nodes=10, layers="all") is not None  # 18


def test_where_no_layer_takes_few_passes_none_is_proposed():
    subject = subject_of()

    with pytest.raises(ConfigError, match=r"Name the layers: --layers 1-1 takes all of them"):
        planned(subject, ["layers.1.mlp.out"], num_nodes=40)


def test_there_is_no_path_to_queries():
    with pytest.raises(UnsupportedSiteError, match=r"attn\.q can be looked at, .* name attn\.z"):
        planned(subject_of(), ["layers.1.attn.q"])


def test_changes_are_weighed_as_the_loss_is():
    corpus = corpus_of(subject_of())

    assert weight_of(corpus, "sequence_mean") == 6
    assert weight_of(corpus, "token_sum") == 9 + 14 + 5 + 2 + 11 + 7 - 6
    assert weight_of(corpus, "batch_mean") == 2


def test_the_table_tells_residuals_of_averages_and_of_single_passages():
    passages = np.array([[1.0, 2.2, 2.0], [0.0, 0.9, 1.0], [-1.0, -3.0, -6.0]])
    exact = np.array([[0.0, 0.0, 0.0]] * 3)

    (table,) = completeness_tables(
        {"layers.4.mlp.out": passages, "layers.5.mlp.out": exact}, weight=2, unit="logits"
    )

    assert table.units == dict.fromkeys(("first_order", "path", "true_change"), "logits")
    row = {name: column[0] for name, column in table.items()}
    assert (row["site"], row["layer"], row["num_passages"]) == ("layers.4.mlp.out", 4, 3)
    assert (row["first_order"], row["path"], row["true_change"]) == pytest.approx((0, 0.05, -1.5))
    assert row["residual"] == pytest.approx(1.55 / 1.5)
    assert row["first_order_residual"] == pytest.approx(1)
    assert row["residual_mean"] == pytest.approx((0.1 + 0.1 + 0.5) / 3)
    assert row["residual_median"] == pytest.approx(0.1)
    assert row["residual_max"] == pytest.approx(0.5)
    for name in ("residual", "residual_mean", "residual_median", "residual_max"):
        assert np.isnan(table[name][1])  # nothing changes, so nothing can be missed
    assert completeness_tables({}, weight=2, unit="nats") == ()
