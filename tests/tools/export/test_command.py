"""``backlight export``: what is written selects the same units when it is read back."""

import json
from pathlib import Path

import numpy as np
import pytest

from backlight import cli
from backlight.errors import RunDirectoryError
from backlight.runs.results import Results
from backlight.tools.export.chosen import chosen
from backlight.tools.export.options import ExportConfig

Q = np.array([0.2, 0.01, 0.04, 0.0, np.nan, 0.03])
T = np.array([1.0, 4.0, -3.0, 9.0, np.nan, 3.5])
COMPARISON = Results(
    data={
        "feature_mean_abs_layer_7_q": Q,
        "feature_mean_abs_layer_7_t": T,
        "feature_mean_abs_layer_7_difference": T / 10,
        "feature_mean_abs_layer_7_index": np.arange(6),
        "head_z_norm_layer_7_q": np.zeros(1),
    }
)


def taken(**options):
    (found,) = chosen(ExportConfig(run=Path("x"), output=Path("y"), **options), COMPARISON)
    assert (found.kind, found.statistic, found.layer) == ("feature", "mean_abs", 7)
    return found.indices.tolist()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [3, 1, 5, 2]),
        ({"q": 0.02}, [3, 1]),
        ({"top": 3}, [3, 1, 5]),
        ({"side": "a"}, [3, 1, 5]),
        ({"side": "b"}, [2]),
        ({"side": "b", "q": 0.001}, []),
    ],
)
def test_the_surest_units_come_first_and_what_is_not_sure_or_of_the_other_side_does_not(
    options, expected
):
    assert taken(**options) == expected


def test_results_without_dimensions_or_features_are_refused():
    heads = Results(data={"head_z_norm_layer_7_q": np.zeros(1)})

    with pytest.raises(
        RunDirectoryError, match="has no dimensions or features: units are taken of a run"
    ):
        chosen(ExportConfig(run=Path("x"), output=Path("y")), heads)


def test_a_file_is_written_that_names_the_units_of_the_comparison(finished_run, place, capsys):
    run = str(finished_run)
    words = ["compare", run, run, "--statistic", "mean", "--output_dir", "both", "--quiet"]
    assert cli.main([*words, "--figures", "none"]) == 0

    export = ["export", "both", "--output", "units.json"]
    assert cli.main(export) == 0
    assert "0 units of 2 layers written to units.json" in capsys.readouterr().out
    read = json.loads(Path("units.json").read_text())
    assert [each["layer"] for each in read["layers"]] == [0, 2]
    assert read["a"]["command"] == "layers"

    assert cli.main(export) == 2
    assert "is there already: use --overwrite" in capsys.readouterr().err
    assert cli.main([*export, "--overwrite"]) == 0
