"""``backlight compare --rank_by``: each list is what plain hooks and ten lines find."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import backlight
from backlight import cli
from backlight.dictionaries.activations import Relu
from backlight.dictionaries.dictionary import LinearEncoder
from backlight.dictionaries.formats import saelens
from backlight.errors import ConfigError, RunDirectoryError
from zoo.dictionaries import random_dictionary
from zoo.folders import lines

LAYER, FEATURES, LONGEST = 1, 250, 20
NO_TEXT = (0, 2)  # padding and end, in the tokenizer of the tiny models


def texts():
    """Two texts of unequal length; some of their rows have the tokenizer's token of the end."""
    rows = lines(30, seed=3)
    first = [row.replace(" a ", " </s> ", 1) for row in rows[:12]]
    return {"first": first, "second": rows[12:]}


@pytest.fixture(scope="module")
def dictionary(model_folder):
    """A dictionary whose features fire at a few per cent of the tokens, some of them at none."""
    outputs = np.concatenate(mlp_outputs(model_folder, texts()["second"]))
    made = random_dictionary(32, num_features=FEATURES, dtype=torch.float32)
    rows = torch.randn(FEATURES, 32, generator=torch.Generator().manual_seed(1))
    rows /= (torch.from_numpy(outputs).float() @ rows.T).std(dim=0)[:, None]
    encoder = LinearEncoder(
        rows=rows,
        bias=-torch.linspace(0.5, 4, FEATURES),
        input_bias=None,
        activation=Relu(),
    )
    return replace(made, encoder=encoder, bias=torch.zeros(32))


def mlp_outputs(folder, rows):
    """What the MLP of one layer returns at every token, by a plain forward hook."""
    model = AutoModelForCausalLM.from_pretrained(folder).double()
    kept = []
    hook = lambda module, inputs, output: kept.append(output[0].detach().numpy())  # noqa: E731
    model.model.layers[LAYER].mlp.register_forward_hook(hook)
    for ids in token_ids(folder, rows):
        model(torch.tensor([ids]))
    return kept


def token_ids(folder, rows):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return [tokenizer(row, truncation=True, max_length=LONGEST)["input_ids"] for row in rows]


def activations(folder, dictionary, rows, stride):
    """Every feature at every token that is looked at, with which are first and which are text."""
    encoder, codes, first, text = dictionary.encoder, [], [], []
    weights = (encoder.rows.double().numpy(), encoder.bias.double().numpy())
    for outputs, ids in zip(mlp_outputs(folder, rows), token_ids(folder, rows), strict=True):
        codes.append(np.maximum(outputs @ weights[0].T + weights[1], 0)[::stride])
        first += [place == 0 for place in range(0, len(ids), stride)]
        text += [token not in NO_TEXT for token in ids[::stride]]
    return np.concatenate(codes), np.array(first), np.array(text)


@pytest.fixture(scope="module", params=[("error", 1), ("error", 3), ("replace", 1)], ids=str)
def measured(request, tmp_path_factory, model_folder, dictionary):
    """Both texts, measured by the survey and by hand."""
    splice, stride = request.param
    folder = tmp_path_factory.mktemp("rankings")
    saelens.write(
        dictionary,
        folder / "saes" / f"layer_{LAYER}",
        model_name="llama",
        hook_name=f"blocks.{LAYER}.hook_mlp_out",
    )
    for name, rows in texts().items():
        (folder / f"{name}.txt").write_text("\n".join(rows))
        backlight.sae(
            model_name=str(model_folder),
            dataset=str(folder / f"{name}.txt"),
            sae_path=str(folder / "saes"),
            device="cpu",
            dtype="float64",
            max_length=LONGEST,
            batch_size=4,
            splice=splice,
            position_stride=stride,
            record_activity=splice == "error",
            allow_poor_reconstruction=True,
            figures="none",
            output_dir=folder / name,
        )
    by_hand = [activations(model_folder, dictionary, rows, stride) for rows in texts().values()]
    return folder, by_hand


def crisp(forget, retain):
    """CRISP in shares of tokens, without the first of each passage; ten by default."""
    (f, f_first, _), (r, r_first, _) = forget, retain
    f, r = f[~f_first], r[~r_first]
    more = (f > 0).mean(0) - (r > 0).mean(0)
    active = np.flatnonzero((f > 0).any(0) | (r > 0).any(0))
    found = active[np.argsort(-more[active].round(12), kind="stable")][:100]
    ratio = f.mean(0) / (r.mean(0) + 1 / len(r))
    return [i for i in found if ratio[i] >= 3][:10]


def saebench(forget, retain):
    """SAEBench's unlearning: fires at less than 0.01 of the other text, then by frequency."""
    (f, _, f_text), (r, _, r_text) = forget, retain
    score = np.where((r[r_text] > 0).mean(0) >= 0.01, 0, (f[f_text] > 0).mean(0))
    return [i for i in np.argsort(-score, kind="stable")[:20] if score[i] > 0]


def dsg(forget, retain):
    """Dynamic SAE Guardrails: ratios of mean squares at the 95th percentile, then by square."""
    (f, _, f_text), (r, _, r_text) = forget, retain
    score = np.square(f[f_text]).mean(0)
    ratio = score / (np.square(r[r_text]).mean(0) + 1e-21)
    kept = (ratio >= np.percentile(ratio, 95)) & (score >= np.percentile(score, 5)) & (score > 0)
    return sorted(np.flatnonzero(kept), key=lambda i: -score[i])[:20]


@pytest.mark.parametrize("rank", [crisp, saebench, dsg], ids=lambda each: each.__name__)
def test_a_list_is_that_of_plain_hooks_and_the_encoder_by_hand(measured, rank):
    folder, (forget, retain) = measured

    found = backlight.compare(folder / "first", folder / "second", rank_by=rank.__name__)

    table = found.tables["ranking"]
    expected = rank(forget, retain)
    assert table["feature"].tolist() == expected
    assert len(expected) > 1
    assert table["rank"].tolist() == list(range(1, len(expected) + 1))
    fires = (forget[0][~forget[1]] > 0).mean(0)
    np.testing.assert_allclose(table["fires_a"], fires[expected])


def test_our_own_list_is_what_surely_is_higher_by_t(measured):
    folder, _ = measured

    found = backlight.compare(folder / "first", folder / "second", rank_by="gradient", q=0.5)

    start = f"feature_mean_abs_layer_{LAYER}_"
    t, q = (np.nan_to_num(found.data[f"{start}{name}"]) for name in ("t", "q"))
    expected = [i for i in np.argsort(-t) if q[i] <= 0.5 and t[i] > 0][:20]
    assert found.tables["ranking"]["feature"].tolist() == expected


def test_lists_are_held_against_each_other_and_against_what_is_sure(measured):
    folder, _ = measured

    found = backlight.compare(
        folder / "first", folder / "second", rank_by="dsg,saebench", ranked=5, q=0.5
    )

    table, lists = found.tables["ranking"], found.tables["rankings"]
    first, second = (
        set(table["feature"][table["ranking"] == name]) for name in ("dsg", "saebench")
    )
    assert lists["num_listed"].tolist() == [len(first), len(second)] == [5, 5]
    assert lists["in_saebench"].tolist() == [len(first & second), 5]
    higher = table["higher_in"] == "a"
    assert lists["num_higher_a"][0] == higher[table["ranking"] == "dsg"].sum()


def test_the_same_lists_come_from_results_at_hand_and_are_shown(measured, place, capsys):
    folder, _ = measured
    runs = [str(folder / name) for name in ("first", "second")]

    assert cli.main(["compare", *runs, "--rank_by", "crisp,dsg", "--output_dir", "both"]) == 0
    printed = capsys.readouterr().out
    assert "also listed by" in printed
    assert re.search(r"^crisp +1 .* dsg \d+$", printed, flags=re.MULTILINE)
    kept = backlight.load_results("both")
    again = backlight.compare(*map(backlight.load_results, runs), rank_by="crisp,dsg")
    assert kept.tables["ranking"]["feature"].tolist() == again.tables["ranking"]["feature"].tolist()
    assert kept.metadata["rank_by"] == ["crisp", "dsg"]
    assert cli.main(["report", "both"]) == 0


def test_a_run_without_the_record_is_refused_and_told_how_to_measure(measured):
    folder, _ = measured
    run = backlight.load_results(folder / "first")
    without = replace(
        run, statistics={name: a for name, a in run.statistics.items() if "active" not in name}
    )

    with pytest.raises(RunDirectoryError, match=r"layer 1 fire.*crisp.*with --record_activity"):
        backlight.compare(without, run, rank_by="crisp")
    found = backlight.compare(without, run, rank_by="gradient")
    assert np.isnan(found.tables["ranking"]["fires_a"]).all()


def test_other_runs_and_other_words_are_refused(place, finished_run):
    run = str(finished_run)

    with pytest.raises(ConfigError, match="takes two runs of `backlight sae`, and these are of"):
        backlight.compare(run, run, rank_by="crisp", statistic="mean")
    with pytest.raises(ConfigError, match="write one or more of crisp, saebench, dsg, gradient"):
        backlight.compare(run, run, rank_by="crips")


def test_gradients_of_all_tokens_in_the_plain_model_are_not_encoded_for_nothing(
    place, model_folder, text_file, measured, caplog
):
    folder, _ = measured
    options = {
        "model_name": str(model_folder),
        "dataset": str(text_file),
        "sae_path": str(folder / "saes"),
        "device": "cpu",
        "max_length": LONGEST,
        "splice": "error",
        "allow_poor_reconstruction": True,
    }

    plain = backlight.sae(**options)
    assert "encodes" not in caplog.text
    with caplog.at_level("INFO"):
        recorded = backlight.sae(**options, record_activity=True)

    assert "--record_activity encodes 247 tokens in 1 layer: about" in caplog.text
    assert not any("activity" in name for name in plain.statistics)
    assert f"layer_{LAYER}_activity_tokens" in recorded.statistics
    for name in ("mean", "rms", "mean_abs"):
        place = f"layer_{LAYER}_{name}"
        np.testing.assert_array_equal(plain.statistics[place], recorded.statistics[place])
