import pytest

from backlight import cli
from backlight.models.loading import load_subject
from backlight.surveys.driver.sites import survey_sites
from zoo.folders import save_causal


@pytest.fixture
def printed(monkeypatch, capsys):
    """Run ``backlight sites`` and give the rows of the table it prints, by site."""

    def run(*words):
        monkeypatch.setenv("COLUMNS", "200")
        assert cli.main(["sites", *map(str, words), "--device", "cpu"]) == 0
        out = capsys.readouterr().out
        rows = [line.strip("│ ").split("│") for line in out.splitlines() if line.startswith("│")]
        return out, {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in rows}

    return run


def test_sites_are_listed_with_layers_shape_and_both_foreign_names(printed, model_folder):
    out, rows = printed(model_folder)

    assert rows["layers.*.mlp.out"] == [
        *("0-2", "[batch, positions, 32]", "model.layers.*.mlp", "blocks.*.hook_mlp_out")
    ]
    assert rows["layers.*.attn.q"][0] == "0-2"
    assert rows["embed.out"][:2] == ["", "[batch, positions, 32]"]
    assert rows["layers.*.attn.k"][1] == "[batch, positions, 16]"
    assert "LlamaForCausalLM" in out
    assert {"layers.*.resid.pre", "layers.*.resid.mid", "layers.*.resid.post"} <= set(rows)


def test_layers_are_chosen(printed, model_folder):
    _, rows = printed(model_folder, "--layers", "0,2")

    assert rows["layers.*.mlp.out"][0] == "0,2"
    assert "final_norm.out" in rows


def test_one_layer_is_named_by_its_number(printed, model_folder):
    _, rows = printed(model_folder, "--layers", "1")

    assert rows["layers.1.mlp.out"][2:] == ["model.layers.1.mlp", "blocks.1.hook_mlp_out"]


def test_the_model_may_be_named_by_flag(printed, model_folder):
    assert printed("--model_name", model_folder)[1] == printed(model_folder)[1]


def test_every_listed_name_of_a_layer_can_be_surveyed(printed, model_folder):
    _, rows = printed(model_folder)
    subject = load_subject(str(model_folder), device="cpu")
    canonical = [name for name, cells in rows.items() if cells[0]]
    foreign = {name for cells in rows.values() if cells[0] for name in cells[2:] if name != "-"}

    assert (len(canonical), len(foreign)) >= (10, 10)
    for name in [*canonical, *(name.removeprefix("layers.*.") for name in canonical), *foreign]:
        if not name.endswith(".*"):
            assert len(survey_sites(subject, name, "all")) == 3, name


def test_the_listed_name_of_whole_layers_can_be_surveyed(model_folder):
    subject = load_subject(str(model_folder), device="cpu")

    assert len(survey_sites(subject, "model.layers.*", "all")) == 3


def test_another_wiring_has_its_own_names(printed, tmp_path):
    _, rows = printed(save_causal(tmp_path / "gpt2", "gpt2"))

    assert rows["layers.*.mlp.out"][2] == "transformer.h.*.mlp"
