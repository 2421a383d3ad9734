"""Tables from blocks of rows, and sentences from rows."""

import numpy as np
import pytest

from backlight.labs.frame.tabulating import sentences, stacked


def test_a_single_value_stands_in_all_rows_of_its_block():
    blocks = [
        {"rule": "bp", "seed": 3, "step": [0, 10], "loss": np.array([2.0, 1.0])},
        {"rule": "sign_uniform", "seed": 3, "step": [0], "loss": np.array([2.5])},
    ]

    table = stacked("losses", blocks, {"loss": "nats"})

    assert table["rule"].tolist() == ["bp", "bp", "sign_uniform"]
    assert table["seed"].dtype == np.int64
    assert table["loss"].tolist() == [2.0, 1.0, 2.5]
    assert table.units == {"loss": "nats"}


def test_a_block_of_single_values_is_one_row():
    table = stacked("rates", [{"cell": "tanh", "rate": np.float64(0.5)}, {"cell": "", "rate": 1}])

    assert table["cell"].tolist() == ["tanh", ""]
    assert table["rate"].tolist() == [0.5, 1.0]


def test_columns_of_one_block_have_one_length():
    with pytest.raises(ValueError, match="shape mismatch"):
        stacked("losses", [{"step": [0, 1, 2], "loss": [1.0, 2.0]}])


def test_blocks_have_the_same_columns():
    with pytest.raises(KeyError, match="loss"):
        stacked("losses", [{"step": 0, "loss": 1.0}, {"step": 1}])


def test_each_row_fills_in_a_sentence():
    table = stacked("losses", [{"rule": ["bp", "fa"], "loss": [2.25, np.nan]}])

    assert sentences(table, "{rule}: {loss:.1f}") == ["bp: 2.2", "fa: nan"]
