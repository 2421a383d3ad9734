"""What `backlight layers --path` writes, says and refuses."""

import logging

import numpy as np
import pytest
from torch import nn

import backlight
from backlight import cli
from backlight.errors import ConfigError
from zoo.tokenizers import WordTokenizer

pytestmark = pytest.mark.usefixtures("place")


def test_a_run_along_paths_says_so_and_keeps_what_they_add_up_to(options, place, no_pixels):
    plain = backlight.layers(**options, layers="0,2", aggregate_by="grad_x_act")
    results = backlight.layers(
        **options, layers="0,2", aggregate_by="grad_x_act", path=4, output_dir="out",
        aggregation_mode="mean",
    )  # fmt: skip

    table = results.tables["completeness"]
    layers = results.tables["layers"]
    assert table["site"].tolist() == ["layers.0.mlp.out", "layers.2.mlp.out"]
    assert "completeness" not in plain.tables
    assert not plain.statistics
    for row, site in enumerate(table["site"]):
        changes = results.statistics[f"{site}/completeness"]
        assert changes.shape == (layers["num_sequences"][0], 3)
        assert table["true_change"][row] == pytest.approx(changes[:, 2].mean())
        # The means over tokens and dimensions divide the sum along the path.
        parts = layers["mean"][row] * layers["num_tokens"][row] * layers["num_dimensions"][row]
        assert -parts == pytest.approx(changes[:, 1].sum(), rel=1e-4)
        assert table["residual"][row] < table["first_order_residual"][row]
    assert (place / "out" / "path_completeness.png").exists()
    page = (place / "out" / "index.html").read_text(encoding="utf-8")
    assert "What paths add up to" in page
    again = backlight.load_results(place / "out")
    np.testing.assert_array_equal(
        again.statistics["layers.0.mlp.out/completeness"],
        results.statistics["layers.0.mlp.out/completeness"],
    )


def test_the_screen_and_the_tables_tell_of_the_paths(survey, capsys, caplog):
    with caplog.at_level(logging.INFO, "backlight"):
        assert cli.main(survey(layers="0,2", path=3)) == 0
    shown = capsys.readouterr().out
    assert cli.main(survey(layers="0,2", path=3, table=True)) == 0
    whole = capsys.readouterr().out

    said = " ".join(shown.split())
    assert "averaged along the path on which the site grows from zero (3 nodes), was mea" in said
    assert "Paths of 3 nodes: what they add up to misses the true change of a passage by" in said
    assert "Paths of 3 nodes at 2 sites: about 4.8 passes of the model for each of" in caplog.text
    assert "averaged along paths" in " ".join(whole.split())
    assert "first order: as the gradient predicts it" in " ".join(whole.split())


def test_values_have_no_path(options):
    with pytest.raises(
        ConfigError, match="path: a path averages gradients, which aggregate_by values"
    ):
        backlight.layers(**options, path=2, aggregate_by="values")


@pytest.mark.parametrize("nodes", [0, 65])
def test_there_is_a_sensible_number_of_nodes(options, nodes):
    with pytest.raises(ConfigError, match="path: Input should be"):
        backlight.layers(**options, path=nodes)


def test_a_model_that_is_only_modules_has_paths_too():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(99, 8)
            self.layers = nn.ModuleList([nn.Sequential(nn.Linear(8, 8), nn.Tanh()) for _ in "ab"])
            self.out = nn.Linear(8, 99)

        def forward(self, tokens):
            stream = self.embed(tokens)
            for layer in self.layers:
                stream = stream + layer(stream)
            return self.out(stream)

    results = backlight.layers(
        subject=backlight.subject_from_module(Model(), WordTokenizer()),
        dataset=["a word and another word", "the last of all words"],
        site="layers.*",
        path=6,
    )

    assert (results.tables["completeness"]["residual"] < 1e-3).all()
