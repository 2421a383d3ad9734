"""Runs of `flow` that read the same passages are compared in pairs of groups of passages."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer

import backlight
from backlight.errors import RunDirectoryError
from backlight.stats.contrast import Groups, estimates_of
from backlight.surveys import SURVEYS
from zoo.folders import lines, save_tokenizer
from zoo.models import tiny_model

LENGTH, HEADS, WIDTH = 12, 4, 8
PLANTED_LAYER, PLANTED_HEAD = 1, 2
FILE, NAME = "passage_groups/attention.npz", "z_norm/square"


def saved(folder, change=lambda model: None):
    """A tiny model, each of whose heads has keys and values of its own, with a change."""
    torch.manual_seed(0)
    model = tiny_model("llama", num_key_value_heads=HEADS).double()
    with torch.no_grad():
        change(model)
    model.save_pretrained(folder)
    save_tokenizer(folder)
    return folder


def a_little_noise(model):
    """Change every weight by 2 %."""
    for parameter in model.parameters():
        parameter.mul_(1 + 0.02 * torch.randn_like(parameter))


def one_louder_head(model):
    """Scale the gradient at one head's output by 1.1, and leave all that the model says."""
    attention = model.model.layers[PLANTED_LAYER].self_attn
    own = slice(PLANTED_HEAD * WIDTH, (PLANTED_HEAD + 1) * WIDTH)
    attention.o_proj.weight[:, own] *= 1.1
    attention.v_proj.weight[own] /= 1.1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("flow")


def measured(folder, **options):
    return backlight.flow(
        **{
            "model_name": str(folder),
            "dataset": lines(20),
            "device": "cpu",
            "dtype": "float64",
            "max_length": LENGTH,
            "batch_size": 3,
            **options,
        }
    )


@pytest.fixture(scope="module")
def before(folder):
    return saved(folder / "before")


@pytest.fixture(scope="module")
def after(folder):
    return saved(folder / "after", a_little_noise)


@pytest.fixture(scope="module")
def runs(before, after):
    return measured(before), measured(after)


def passages(folder):
    """Each passage's hidden states and its loss, by plain Transformers."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for row in lines(20):
        ids = tokenizer(row, truncation=True, max_length=LENGTH, return_tensors="pt")["input_ids"]
        output = model(input_ids=ids, output_hidden_states=True)
        yield output.hidden_states[:-1], cross_entropy(output.logits[0, :-1], ids[0, 1:])


def test_roots_of_ratios_are_paired_as_the_delta_method_pairs_passages(runs, before, after):
    values, influences = [], []
    for folder in (before, after):
        squares = np.array(
            [
                [each.square().sum().item() for each in torch.autograd.grad(loss, states)]
                for states, loss in passages(folder)
            ]
        )
        means = squares.mean(axis=0) / LENGTH
        values.append(np.sqrt(means))
        influences.append((squares / LENGTH - means) / len(squares) / (2 * np.sqrt(means)))

    found = backlight.compare(*runs, statistic="gradient_norm")

    difference, moved = values[0] - values[1], influences[0] - influences[1]
    error = np.sqrt(20 / 19 * np.square(moved).sum(axis=0))
    t, place = difference / error, "depth_gradient_norm_all"
    np.testing.assert_allclose(found.data[f"{place}_difference"][:3], difference, rtol=1e-9)
    np.testing.assert_allclose(found.data[f"{place}_difference_se"][:3], error, rtol=1e-9)
    np.testing.assert_allclose(found.data[f"{place}_t"][:3], t, rtol=1e-9)
    np.testing.assert_allclose(found.data[f"{place}_p"][:3], 2 * stats.t.sf(np.abs(t), 19))


def test_means_of_equally_long_passages_are_paired_as_scipy_pairs_them(runs, before, after):
    one, other = (
        np.array(
            [
                [(each.square().mean(dim=-1) + 1e-6).sqrt().mean().item() for each in states]
                for states, _ in passages(folder)
            ]
        )
        for folder in (before, after)
    )

    found = backlight.compare(*runs, statistic="sigma")

    expected = stats.ttest_rel(one, other)
    table = runs[0].tables["norms"]
    for layer in range(3):
        (row,) = np.flatnonzero(table["norm"][table["layer"] == layer] == "norm1")
        place = f"norm_sigma_layer_{layer}"
        np.testing.assert_allclose(found.data[f"{place}_t"][row], expected.statistic[layer])
        np.testing.assert_allclose(found.data[f"{place}_p"][row], expected.pvalue[layer])


def test_every_column_with_an_error_is_paired_and_has_the_value_of_its_table(runs):
    found = backlight.compare(*runs)

    assert set(found.tables["layers"]["errors"]) == {"paired"}
    assert set(found.tables["layers"]["kind"]) == {"head", "half", "norm", "depth"}
    assert "in pairs" in SURVEYS["compare"].door("printed").summary(found)[0]
    kinds = {"attention": "head", "norms": "norm", "residual": "half", "depth": "depth"}
    for name, kind in kinds.items():
        table = runs[0].tables[name]
        columns = [column for column in table if f"{column}_se" in table]
        assert columns
        for column in columns:
            places = [
                each.removesuffix("_a")
                for each in found.data
                if re.fullmatch(f"{kind}_{column}_(all|layer_[0-9])_a", each)
            ]
            told, errors = (
                np.sort(np.concatenate([found.data[f"{place}_{side}"] for place in places]))
                for side in ("a", "a_se")
            )
            np.testing.assert_allclose(told, np.sort(table[column]), rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(errors, np.sort(table[f"{column}_se"]), rtol=1e-6, atol=1e-7)


def test_one_louder_head_is_found_in_pairs_and_not_without(folder, before):
    runs = measured(before), measured(saved(folder / "louder", one_louder_head))

    pairs = backlight.compare(*runs, statistic="z_norm")
    apart = backlight.compare(*(replace(run, groups={}) for run in runs), statistic="z_norm")

    assert set(pairs.tables["layers"]["errors"]) == {"paired"}
    assert set(apart.tables["layers"]["errors"]) == {"unpaired"}
    first = surest(pairs)
    assert (first["layer"][0], first["index"][0]) == (PLANTED_LAYER, PLANTED_HEAD)
    assert first["higher_in"][0] == "b"
    assert first["log_ratio"][0] == pytest.approx(-np.log(1.1))
    assert first["q"][0] < 1e-6
    assert apart.metadata["num_sure"] == 0


def surest(found):
    table = found.tables["differences"]
    return table.select([int(np.nanargmin(table["q"]))])


def noisy(run, seed):
    """The same run, with independent noise of 5 % in every passage."""
    random = np.random.default_rng(seed)
    groups = {
        file: {
            name: sums
            if name.endswith("/below")
            else sums * (1 + 0.05 * random.normal(size=sums.shape))
            for name, sums in arrays.items()
        }
        for file, arrays in run.groups.items()
    }
    return replace(run, groups=groups)


def test_where_only_noise_is_added_nothing_is_found(runs):
    told = [
        backlight.compare(runs[0], noisy(runs[0], seed)).metadata["num_sure"] for seed in range(20)
    ]

    assert sum(count == 0 for count in told) >= 18


def test_other_passages_are_not_paired(runs, before):
    found = backlight.compare(runs[0], measured(before, dataset=lines(20, seed=1)))

    assert set(found.tables["layers"]["errors"]) == {"unpaired"}


def test_runs_on_disk_are_paired_layer_by_layer_also_where_one_has_more_of_them(
    runs, before, after, place
):
    measured(before, layers="0,2", output_dir="one", figures="none")
    measured(after, output_dir="other", figures="none")

    found = backlight.compare("one", "other", statistic="z_norm,gradient_norm")

    expected = backlight.compare(*runs, statistic="z_norm,gradient_norm")
    assert set(found.tables["layers"]["errors"]) == {"paired"}
    for name in ("head_z_norm_layer_2_t", "norm_gradient_norm_layer_0_t"):
        np.testing.assert_allclose(found.data[name], expected.data[name], rtol=1e-9)
    whole = "norm_gradient_norm_all_t"
    np.testing.assert_allclose(found.data[whole], expected.data[whole], rtol=1e-9)


@pytest.mark.parametrize("harm", [lambda sums: {}, lambda sums: {NAME: sums[NAME][:, 1:]}])
def test_a_run_that_lacks_sums_of_a_column_is_refused(runs, harm):
    sums = runs[0].groups[FILE]
    kept = {name: array for name, array in sums.items() if name != NAME}
    harmed = replace(runs[0], groups={**runs[0].groups, FILE: {**kept, **harm(sums)}})

    with pytest.raises(RunDirectoryError, match="table attention lack those of z_norm"):
        backlight.compare(harmed, runs[1], statistic="z_norm")


def test_groups_of_many_passages_say_nearly_what_their_passages_say(before):
    run = measured(before, dataset=lines(150))

    sums = run.groups[FILE]
    found = estimates_of(Groups(above=sums[NAME], below=sums["z_norm/below"], is_square=True))

    table = run.tables["attention"]
    np.testing.assert_allclose(found.value, table["z_norm"], rtol=1e-9)
    np.testing.assert_allclose(found.error, table["z_norm_se"], rtol=0.4)
    assert (found.clusters == 64).all()


def test_a_run_of_flow_cannot_be_split_in_halves(runs):
    with pytest.raises(RunDirectoryError, match="a run of `backlight flow`, of which no halves"):
        backlight.stability(runs[0])
