"""``backlight validate``: true changes, predictions, plans, budgets, refusals, what is shown."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy

import backlight
from backlight import cli
from backlight.errors import ConfigError, RunDirectoryError
from backlight.objectives.objective import LossGradient
from backlight.surveys.driver.clock import Clock
from backlight.surveys.validation.measure.sample import Sample
from backlight.surveys.validation.measure.units import Part
from backlight.surveys.validation.names import CARE, NOT_TRUSTED, TRUSTED, UNTOLD, verdict
from backlight.surveys.validation.printed import brief
from backlight.surveys.validation.printed.shown import untested_lines
from zoo.dictionaries import written
from zoo.folders import contents
from zoo.subjects import batch_of
from zoo.tokenizers import WordTokenizer

pytestmark = pytest.mark.usefixtures("place")


@pytest.fixture(scope="module")
def run(tmp_path_factory, model_folder, text_file):
    folder = tmp_path_factory.mktemp("validated")
    options = {
        "model_name": str(model_folder),
        "dataset": str(text_file),
        "device": "cpu",
        "max_length": 20,
        "dtype": "float64",
        "figures": "none",
    }
    for name in ("layers", "flow"):
        getattr(backlight, name)(**options, output_dir=folder / name)
    return folder


@pytest.fixture(scope="module")
def found(run):
    return backlight.validate(run / "layers", units=30, ablation="zero,mean,resample", passages=4)


def rows(table, **wanted):
    keep = np.ones(table.num_rows, dtype=bool)
    for name, value in wanted.items():
        keep &= table[name] == value
    return table.select(keep)


def plain_changes(found, run, ids, module, change):
    """The loss of each passage with one forward hook, without any of our code."""
    config = backlight.load_results(run / "layers").config
    subject = backlight.load_subject(config["model_name"], device="cpu", dtype="float64")
    losses = []
    for changed in (False, True):
        part = subject.model.get_submodule(module)
        handle = part.register_forward_hook(
            lambda module, inputs, output, changed=changed: change(output) if changed else output
        )
        with torch.no_grad():
            own = []
            for row in ids:
                logits = subject.model(input_ids=row[None]).logits[0, :-1]
                own.append(cross_entropy(logits, row[1:]).item())
        handle.remove()
        losses.append(np.array(own))
    return losses[1] - losses[0]


def passages_of(found, run):
    """The passages that were drawn, by the public rule: a permutation of the seed, cut."""
    config = backlight.load_results(run / "layers").config
    subject = backlight.load_subject(config["model_name"], device="cpu")
    lines = [
        row
        for row in Path(config["dataset"]).read_text(encoding="utf-8").splitlines()
        if row.strip()
    ]
    tokens = [
        subject.tokenizer(line, truncation=True, max_length=20)["input_ids"] for line in lines
    ]
    tokens = [torch.tensor(row) for row in tokens if len(row) > 1]
    drawn = np.random.default_rng([0, 1]).permutation(len(tokens))[: len(found.data["value"])]
    return [tokens[index] for index in sorted(drawn)]


def test_true_changes_are_those_of_a_plain_hook(found, run):
    units = rows(found.tables["units"], ablation="zero")
    ids = passages_of(found, run)
    for row in [0, 5, 11, 17]:
        layer, index = int(units["layer"][row]), int(units["index"][row])

        def change(output, index=index):
            output = output.clone()
            output[..., slice(None) if index < 0 else index] = 0
            return output

        expected = plain_changes(found, run, ids, f"model.layers.{layer}.mlp", change)
        np.testing.assert_allclose(found.data["true"][row, 0], expected, rtol=0, atol=1e-10)


def test_whole_sites_take_turns_with_the_others_until_all_were_tested(found):
    units = rows(found.tables["units"], ablation="zero")

    assert units["kind"][:6].tolist() == ["site", "dimension"] * 3
    assert sorted(units["layer"][:6:2].tolist()) == [0, 1, 2]
    assert set(units["kind"][6:]) == {"dimension"}
    assert found.tables["sites"].num_rows == 9


def test_half_of_the_units_are_among_the_largest_of_their_layer(found, run):
    units = rows(found.tables["units"], ablation="zero", kind="dimension")
    dimensions = backlight.load_results(run / "layers").tables["dimensions"]

    chosen = units["chosen"].tolist()
    assert 0.4 <= chosen.count("largest") / len(chosen) <= 0.6
    for layer in range(3):
        own = rows(dimensions, layer=layer)
        order = own["dimension"][np.argsort(-own["mean_abs"])]
        top = rows(units, layer=layer, chosen="largest")["index"]
        assert set(top) <= set(order[: len(top) + 10])
        assert order[0] in units["index"][units["layer"] == layer]


def test_predictions_are_gradient_times_change(found, run):
    measured = backlight.load_results(run / "layers")
    config = {**measured.config, "num_samples": 500}
    units = rows(found.tables["units"], ablation="zero", kind="dimension")
    several = backlight.validate(
        run / "layers", units=units.num_rows + 3, passages=64, ablation="zero"
    )
    first_order = backlight.layers(
        model_name=config["model_name"],
        dataset=config["dataset"],
        device="cpu",
        dtype="float64",
        max_length=20,
        aggregate_by="grad_x_act",
        aggregation_mode="mean",
    )
    table = rows(several.tables["units"], kind="dimension")
    tokens = first_order.tables["layers"]["num_tokens"][0]
    passages = first_order.tables["layers"]["num_sequences"][0]
    assert len(several.data["value"]) == passages
    for row in range(5):
        own = first_order.data[f"layer_{table['layer'][row]}_mean"][table["index"][row]]
        assert table["predicted"][row] == pytest.approx(-own * tokens / passages, rel=1e-5)


class Linear:
    """An objective that is linear in the model's output."""

    def __call__(self, output, batch, head):
        del head
        gradient = torch.linspace(-1, 2, output.shape[-1], dtype=output.dtype).expand_as(output)
        gradient = gradient.masked_fill(~batch.valid[..., None], 0.0)
        value = (output.detach() * gradient).sum(dim=(1, 2)).double()
        return LossGradient(nats=value, value=value, gradient=gradient)

    def value(self, output, batch, head):
        return self(output, batch, head).value


@pytest.mark.parametrize("ablation", ["zero", "mean", "resample"])
def test_on_a_linear_model_the_gradient_predicts_exactly(ablation):
    torch.manual_seed(0)
    layers = (torch.nn.Embedding(99, 8), torch.nn.Linear(8, 6), torch.nn.Linear(6, 99))
    model = torch.nn.Sequential(*layers).double()
    subject = backlight.subject_from_module(model, WordTokenizer(), name="letters")
    site = subject.sites["1"]
    sample = Sample.of(
        subject, batch_of(), [site], objective=Linear(), reduction="sequence_mean", seed=0
    )
    for start, stop in ((2, 3), (0, 6)):
        unit = Part(kind="site", site=site, index=-1, chosen="all", start=start, stop=stop)
        delta = unit.change(sample, ablation)
        true = sample.true(site, delta)
        assert np.abs(true).max() > 1e-3
        np.testing.assert_allclose(sample.predicted(site, delta), true, rtol=0, atol=1e-10)
        nothing = torch.zeros_like(delta)
        assert (sample.true(site, nothing) == 0).all()
        assert np.isnan(sample.relative_size(site, delta, unit.mask(sample)))


def test_a_validation_goes_on_where_it_stopped_with_the_same_bytes(run, place, monkeypatch):
    options = {"units": 12, "passages": 3, "figures": "none"}
    whole = backlight.validate(run / "layers", **options, output_dir=place / "whole")
    monkeypatch.setattr(
        "backlight.surveys.driver.words.progress._SECONDS_BETWEEN", 0, raising=False
    )
    from backlight.surveys.validation.measure import survey

    measured = survey.Tested.put
    calls = iter(range(100))

    def stops(self, *args):
        if next(calls) == 5:
            raise KeyboardInterrupt
        measured(self, *args)

    monkeypatch.setattr(survey.Tested, "put", stops)
    with pytest.raises(KeyboardInterrupt):
        backlight.validate(run / "layers", **options, output_dir=place / "part")
    monkeypatch.setattr(survey.Tested, "put", measured)
    more = {"budget": "20m", "output_dir": place / "part", "resume": True}
    part = backlight.validate(run / "layers", **options, **more)  # more time, the same plan

    for name, array in whole.data.items():
        assert array.tobytes() == part.data[name].tobytes()


def test_the_budget_ends_it_and_layers_without_a_tested_unit_are_named(run, monkeypatch):
    clock = iter([0.0, 0.1, 0.2, 99.0])
    monkeypatch.setattr(Clock, "total", lambda self: next(clock, 99.0))
    options = {"unit": "dimension", "passages": 2, "budget": "1s"}

    found = backlight.validate(run / "layers", **options)

    assert 0 < found.metadata["num_tested"] < 4 < found.metadata["num_planned"]
    tested = set(found.tables["units"]["layer"].tolist())
    ((told,),) = ((each,) for each in found.metadata["untested"])
    assert told == {
        "kind": "dimension",
        "layers": sorted({0, 1, 2} - tested),
        "reason": "the time was over (--budget)",
    }
    (*_, note) = brief(None, found)
    assert re.search(r"No dimension of layers? [-0-2, ]+ was tested: the time was over", note)


def test_a_budget_that_is_over_before_the_first_unit_is_an_error(run, capsys):
    with pytest.raises(ConfigError, match=r"No unit was tested: of the 0\.001\d* s .*--budget"):
        backlight.validate(run / "layers", budget="0.001s")

    line = ["validate", str(run / "layers"), "--budget", "0.001s", "--output_dir", "late"]
    assert cli.main(line) == 2
    assert "No unit was tested" in capsys.readouterr().err
    assert not Path("late", "manifest.json").exists()


@pytest.fixture
def silent(model_folder, text_file, place):
    """Measure a run of dictionaries, of which no feature fires at some layers."""

    def measure(*layers):
        folder = written(place / "dictionaries", layers=(0, 1))
        for layer in layers:
            (file,) = Path(folder).rglob(f"*{layer}*/*.safetensors")
            tensors = load_file(file)
            save_file({**tensors, "b_enc": tensors["b_enc"] - 1e6}, file)
        return backlight.sae(
            model_name=str(model_folder),
            dataset=str(text_file),
            device="cpu",
            dtype="float64",
            max_length=20,
            sae_path=str(folder),
            allow_poor_reconstruction=True,
            figures="none",
            output_dir=place / "sae",
        )

    return measure


def test_a_layer_of_which_no_feature_fires_is_named(silent):
    silent(1)

    found = backlight.validate("sae", unit="feature", units=6, passages=2)

    assert set(found.tables["units"]["layer"]) == {0}
    (*_, note) = brief(None, found)
    assert note.endswith("No feature of layer 1 was tested: none of them fires in these passages.")


def test_a_run_of_which_no_feature_fires_is_an_error(silent):
    silent(0, 1)

    with pytest.raises(ConfigError, match=r"No feature of the run fires in the 2 passages"):
        backlight.validate("sae", unit="feature", passages=2)


def test_layers_are_told_as_options_write_them():
    def told(*layers):
        return untested_lines({"untested": [{"kind": "site", "layers": layers, "reason": "why"}]})

    assert told(3) == ["No site of layer 3 was tested: why."]
    assert told(0, 1, 2, 7) == ["No site of layers 0-2, 7 was tested: why."]
    assert told(-1) == ["No site of sites that belong to no layer was tested: why."]
    assert told(-1, 4)[0].startswith("No site of layers 4 and of sites that belong to none was")


def test_every_layer_has_a_tested_unit_if_none_is_named(found):
    assert found.metadata["untested"] == []


def test_heads_and_whole_outputs_of_flow(run):
    found = backlight.validate(run / "flow", units=24, passages=4)

    units = found.tables["units"]
    assert set(units["kind"]) == {"head", "site"}
    assert rows(units, kind="site").num_rows == 6
    assert set(rows(units, kind="head")["site"]) == {f"layers.{i}.attn.z" for i in range(3)}
    assert (units["relative_size"] > 0).all()


def test_prompts_are_changed_at_their_positions():
    measured = backlight.tokens(task_type="distance", n_samples=6, target_layers="1,3")

    found = backlight.validate(measured, units=20, ablation="zero,resample", passages=6)

    positions = rows(found.tables["units"], kind="position", ablation="zero")
    assert set(positions["position"]) <= set(measured.tables["positions"]["position"])
    assert (np.abs(positions["true"]) > 0).any()


def test_the_screen_says_what_can_be_trusted(run, capsys):
    status = cli.main(["validate", str(run / "layers"), "--units", "20", "--passages", "4"])

    out = capsys.readouterr().out
    assert status == 0
    assert "20 units of a run of `backlight layers`" in " ".join(out.split())
    assert "Whole outputs: too few were tested to tell (signs agree" in " ".join(out.split())
    assert "relative size" in out


def test_figures_and_page_are_drawn_from_disk(run, place):
    backlight.validate(run / "layers", units=20, passages=4, output_dir=place / "v")

    names = set(contents(place / "v"))
    assert {"predicted_and_true.png", "agreement_by_size.png", "index.html"} <= names
    again = backlight.load_results(place / "v")
    assert list(again.figures) == ["predicted_and_true", "agreement_by_size"]
    page = (place / "v" / "index.html").read_text(encoding="utf-8")
    assert "What happens without whole outputs" in page
    assert cli.main(["validate", str(place / "v" / "config.yaml"), "--units", "5"]) == 0


def test_what_is_no_run_of_a_survey_is_refused(run, place):
    validated = backlight.validate(run / "layers", units=4, passages=3, output_dir=place / "v")

    with pytest.raises(RunDirectoryError, match=r"what can be validated are runs of .* validate`"):
        backlight.validate(validated.path)
    with pytest.raises(RunDirectoryError, match="what can be validated"):
        backlight.validate(backlight.Results())
    with pytest.raises(ConfigError, match="Say which run is to be validated"):
        backlight.validate()


def test_kinds_that_the_run_does_not_have_are_refused(run):
    with pytest.raises(ConfigError, match="no units of the kind feature, only dimension, site"):
        backlight.validate(run / "layers", unit="feature")


def test_averages_along_paths_are_not_validated(model_folder, text_file):
    measured = backlight.layers(
        model_name=str(model_folder), dataset=str(text_file), path=1, layers="1", device="cpu"
    )

    with pytest.raises(ConfigError, match="averages along paths"):
        backlight.validate(measured)


def test_data_in_memory_must_be_given_again(model_folder):
    texts = ["one of the words here", "another one of the words", "and more of the words"]
    measured = backlight.layers(model_name=str(model_folder), dataset=texts, device="cpu")

    with pytest.raises(ConfigError, match=r"backlight\.validate\(run, dataset=\.\.\.\)"):
        backlight.validate(measured)
    found = backlight.validate(measured, dataset=texts, units=5)
    assert found.tables["units"].num_rows == 5


def test_another_text_is_noticed(run, place, text_file, model_folder):
    changed = place / "text.txt"
    changed.write_text(text_file.read_text(encoding="utf-8"), encoding="utf-8")
    backlight.layers(
        model_name=str(model_folder), dataset=str(changed), device="cpu", output_dir=place / "r"
    )
    changed.write_text("other words\nand more of these other words\nand so on and on\n")

    with pytest.raises(RunDirectoryError, match="The text is another than the one"):
        backlight.validate(place / "r")


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ({"budget": "soon"}, "budget: write a time such as 90s"),
        ({"budget": "0s"}, "budget: write a time such as 90s"),
        ({"ablation": "nothing"}, "ablation: write one or more of zero, mean, resample"),
        ({"ablation": ","}, "ablation: name at least one"),
        ({"unit": "neuron"}, "unit: write one or more of dimension"),
        ({"passages": 1}, "passages: Input should be greater than 1"),
    ],
)
def test_options_that_mean_nothing_are_refused(run, option, reason):
    with pytest.raises(ConfigError, match=reason):
        backlight.validate(run / "layers", **option)


@pytest.mark.parametrize(
    ("signs", "ranks", "units", "expected"),
    [
        (0.95, 0.9, 40, TRUSTED),
        (0.95, 0.5, 40, CARE),
        (0.7, 0.9, 40, CARE),
        (0.59, 0.9, 40, NOT_TRUSTED),
        (float("nan"), float("nan"), 2, UNTOLD),
        (1.0, 1.0, 4, UNTOLD),
    ],
)
def test_a_verdict_is_by_the_lower_ends(signs, ranks, units, expected):
    assert verdict(signs, ranks, units) == expected
