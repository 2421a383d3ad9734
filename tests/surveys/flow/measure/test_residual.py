"""The tables of residual paths and of depth, against sums over passages run one by one."""

import numpy as np
import pytest
import torch

from backlight.capture.record import record
from backlight.data.batches import Batch
from zoo.flow import subject_of, surveyed, tables_of
from zoo.subjects import LENGTHS, passages_of

F64 = torch.float64


def alone(subject, names):
    """Gradients of each passage at some sites, ``[positions, width]``."""
    sites = [subject.sites[name] for name in names]
    tapes = [
        record(subject, Batch.of(passages_of(), [member]), sites) for member in range(len(LENGTHS))
    ]
    return [[tape.gradients[name][0].double() for name in names] for tape in tapes]


def sum_of_squares(tensor):
    return float(tensor.square().sum())


def ratio(above, below):
    above, below = np.array(above), np.array(below, dtype=float)
    value, count = above.sum() / below.sum(), len(above)
    spread = np.square(above - value * below).sum() * count / (count - 1)
    return value, np.sqrt(spread) / below.sum()


def row_of(table, **wanted):
    keep = np.ones(table.num_rows, dtype=bool)
    for name, value in wanted.items():
        keep &= table[name] == value
    assert keep.sum() == 1
    return {name: column[keep][0] for name, column in table.columns.items()}


@pytest.mark.parametrize("name", ["llama", "granite", "gemma2"])
def test_every_number_of_a_half_follows_from_the_gradients_around_it(name):
    subject = subject_of(name, F64)
    found = row_of(tables_of(surveyed(subject, ["residual"]))["residual"], layer=1, half="mlp")

    passages = alone(subject, ["layers.1.resid.mid", "layers.1.resid.post"])
    pairs = [(behind, before - behind) for before, behind in passages]

    direct = [sum_of_squares(d) for d, _ in pairs]
    transform = [sum_of_squares(t) for _, t in pairs]
    total = [sum_of_squares(d + t) for d, t in pairs]
    both = [d + t for d, t in zip(direct, transform, strict=True)]
    along = [float((t * (d + t)).sum()) for d, t in pairs]
    cosines = [float(torch.cosine_similarity(d[:-1], t[:-1], eps=1e-30).sum()) for d, t in pairs]
    expected = {
        "direct_norm": (direct, LENGTHS, True),
        "transform_norm": (transform, LENGTHS, True),
        "input_norm": (total, LENGTHS, True),
        "growth": (total, direct, True),
        "cosine": (cosines, [length - 1 for length in LENGTHS], False),
        "transform_share": (transform, both, False),
        "transform_contribution": (along, total, False),
    }
    for column, (above, below, is_root) in expected.items():
        value, error = ratio(above, below)
        if is_root:
            value, error = value**0.5, error / (2 * value**0.5)
        assert found[column] == pytest.approx(value, rel=1e-5), column
        assert found[f"{column}_se"] == pytest.approx(error, rel=1e-4), column
    assert found["num_sequences"] == len(LENGTHS)


def test_a_parallel_block_has_three_rows_and_their_paths_share_one_direct_path():
    table = tables_of(surveyed(subject_of("gptj"), ["residual"]))["residual"]

    assert table["half"].tolist() == ["block", "attention", "mlp"] * 3
    rows = table["direct_norm"].reshape(3, 3)
    assert (rows == rows[:, :1]).all()
    assert len(np.unique(table["transform_norm"])) == 9


@pytest.mark.parametrize("name", ["llama", "opt post-norm", "gpt_neox"])
def test_the_profile_of_depth_is_that_of_the_stream_at_every_layer(name):
    subject = subject_of(name, F64)
    tables = tables_of(surveyed(subject, ["residual"], layers=[1]))  # depth is always of all layers

    names = [f"layers.{layer}.resid.pre" for layer in range(3)] + ["layers.2.resid.post"]
    passages = alone(subject, names)

    table = tables["depth"]
    assert table["site"].tolist() == names
    assert table["depth"].tolist() == [0, 1, 2, 3]
    for depth in range(4):
        squares = [sum_of_squares(passage[depth]) for passage in passages]
        value, error = ratio(squares, LENGTHS)
        assert table["gradient_norm"][depth] == pytest.approx(value**0.5, rel=1e-6)
        assert table["gradient_norm_se"][depth] == pytest.approx(error / 2 / value**0.5, rel=1e-5)


def test_positions_are_profiled_in_groups_of_powers_of_two():
    subject = subject_of("llama", F64)
    table = tables_of(surveyed(subject, ["residual"]))["depth_by_position"]

    passages = alone(subject, ["layers.1.resid.pre"])

    own = table.select(table["depth"] == 1)
    assert own["position_first"].tolist() == [0, 1, 2, 4, 8]
    assert own["position_last"].tolist() == [0, 1, 3, 7, 15]
    for row, (first, last) in enumerate([(0, 0), (1, 1), (2, 3), (4, 7), (8, 15)]):
        parts = [passage[0][first : last + 1] for passage in passages]
        there = [part for part in parts if len(part)]
        value, error = ratio([sum_of_squares(p) for p in there], [len(p) for p in there])
        assert own["num_sequences"][row] == len(there)
        assert own["gradient_norm"][row] == pytest.approx(value**0.5, rel=1e-6)
        assert own["gradient_norm_se"][row] == pytest.approx(error / 2 / value**0.5, rel=1e-5)


def test_slopes_are_those_of_the_log_norms_walked_backward_with_an_interval_around_them():
    tables = tables_of(surveyed(subject_of("llama"), ["residual"]))
    slopes, depth, groups = (tables[name] for name in ("depth_slope", "depth", "depth_by_position"))

    assert np.isnan(slopes["position_first"][0])
    assert slopes["position_first"][1:].tolist() == [0, 1, 2, 4, 8]
    # A passage whose only token in a group is its last one has no gradient there.
    live = [sum(length - 1 > start for length in LENGTHS) for start in (0, 1, 2, 4, 8)]
    assert slopes["num_sequences"].tolist() == [6, *live] == [6, 6, 5, 5, 4, 2]
    for row in range(slopes.num_rows):
        start = slopes["position_first"][row]
        norms = depth if row == 0 else groups.select(groups["position_first"] == start)
        slope = np.polyfit([3, 2, 1, 0], np.log(norms["gradient_norm"]), 1)[0]
        assert slopes["slope"][row] == pytest.approx(slope)
        assert slopes["slope_low"][row] < slope < slopes["slope_high"][row]


def test_a_slope_of_one_passage_has_no_interval():
    lengths = (9, 17, 8)  # of positions 8 to 15, the first has only its last token
    state = surveyed(subject_of("llama"), ["residual"], lengths=lengths)
    slopes = tables_of(state)["depth_slope"]

    alone = slopes["position_first"] == 8
    assert slopes["num_sequences"][alone] == 1
    assert np.isfinite(slopes["slope"][alone])
    assert np.isnan(slopes["slope_low"][alone])
    assert np.isfinite(slopes["slope_low"][slopes["position_first"] == 4])
