"""What text becomes of in every command: in memory or on disk, told what was left out, readable."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

import backlight
from backlight import cli
from backlight.errors import ConfigError, DatasetError, RunDirectoryError, UnknownLayerError
from backlight.surveys.driver.words import progress
from backlight.surveys.layers.measure import setup
from backlight.tools.doctor import probe as doctor_probe
from backlight.tools.doctor.options import DoctorConfig
from zoo.folders import lines, save_causal
from zoo.stopping import stopping

pytestmark = pytest.mark.usefixtures("place")


TEXTS = lines(5)


@pytest.fixture
def asked(model_folder):
    """Options of a quick survey, without a text."""
    return {"model_name": str(model_folder), "device": "cpu", "batch_size": 2, "max_length": 20}


@pytest.fixture
def subject(model_folder):
    """A model whose tokenizer has one token more than it has embeddings."""
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    model = AutoModelForCausalLM.from_pretrained(model_folder)
    tokenizer.add_tokens([f"new{number}" for number in range(len(model.lm_head.weight))])
    return backlight.subject_from_transformers(model, tokenizer)


def write(name, content):
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return name


def mean_abs(asked, **others):
    return backlight.layers(**asked, **others).tables["layers"]["mean_abs"].tolist()


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + "\r\n".join(TEXTS).encode(),
        "\n".join(TEXTS).encode("utf-16"),
        "\r".join(TEXTS).encode("utf-32"),
        "\r\n".join(TEXTS).encode() + b"\r\n",
    ],
    ids=["notepad", "utf-16, unix", "utf-32, old mac", "windows"],
)
def test_a_mark_and_line_ends_change_no_number(asked, content):
    plain = mean_abs(asked, dataset=write("plain.txt", "\n".join(TEXTS)))

    assert mean_abs(asked, dataset=write("other.txt", content)) == plain


def test_data_in_memory_gives_the_numbers_of_the_same_text_on_disk(asked, model_folder):
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    ids = [torch.tensor(tokenizer(text)["input_ids"]) for text in TEXTS]
    plain = mean_abs(asked, dataset=Path(write("plain.txt", "\n".join(TEXTS))))

    assert mean_abs(asked, dataset=TEXTS) == plain
    assert mean_abs(asked, dataset=(text for text in TEXTS)) == plain
    assert mean_abs(asked, dataset=ids) == plain
    both = [backlight.flow(**asked, dataset=data, view="residual") for data in (TEXTS, "plain.txt")]
    assert both[0].tables["residual"]["direct_norm"].tolist() == (
        both[1].tables["residual"]["direct_norm"].tolist()
    )


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (1, [1]),
        (np.int64(1), [1]),
        ([0, 2], [0, 2]),
        ((2, 0), [0, 2]),
        ({1, 2}, [1, 2]),
        (range(2), [0, 1]),
        (np.arange(2), [0, 1]),
        (torch.tensor([1, 2]), [1, 2]),
        (torch.tensor(1), [1]),
        ([0, "1-2"], [0, 1, 2]),
        ("0-1,2", [0, 1, 2]),
        (iter([1]), [1]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_layers_may_be_written_as_python_has_them(asked, layers, expected):
    results = backlight.layers(**asked, dataset=TEXTS[:1], layers=layers)

    assert results.tables["layers"]["layer"].tolist() == expected


@pytest.mark.parametrize(
    ("layers", "error", "told"),
    [
        (-1, UnknownLayerError, r"'-1' cannot be read"),
        ([0, -1], UnknownLayerError, r"cannot be read at '-1'"),
        ([3], UnknownLayerError, r"go beyond this model: it has 3 layers"),
        (1.5, UnknownLayerError, r"'1\.5' cannot be read"),
        (True, ConfigError, r"layers: .* \(got True\)"),
        ([True], ConfigError, r"layers: .* \(got \[True\]\)"),
        ([], ConfigError, r"the list of layers is empty"),
        (None, ConfigError, r"layers: .* \(got None\)"),
    ],
    ids=repr,
)
def test_what_are_no_layers_is_told(asked, layers, error, told):
    with pytest.raises(error, match=told):
        backlight.layers(**asked, dataset=TEXTS[:1], layers=layers)


def test_paths_stand_where_names_do(asked, model_folder):
    options = {**asked, "model_name": Path(model_folder)}

    assert mean_abs(options, dataset=TEXTS) == mean_abs(asked, dataset=TEXTS)


def test_what_was_left_out_is_told_once_below_the_tables_and_recorded(
    asked, capsys, caplog, no_pixels
):
    text = write(
        "rows.txt", "\n".join([TEXTS[0], "", "light", "  ", "这 是", "light falls", *TEXTS])
    )
    words = [f"--{name}={value}" for name, value in asked.items() if name != "max_length"]

    with caplog.at_level("INFO", logger="backlight"):
        assert (
            cli.main(["layers", *words, f"--dataset={text}", "--output_dir=out", "--max_length=8"])
            == 0
        )

    told = (
        "Rows left out: 2 blank, 1 of fewer than two tokens. Cut at 8 tokens: 6 of 8 passages "
        "read. Unknown to the tokenizer: 2 tokens"
    )
    assert told in " ".join(capsys.readouterr().out.split())
    assert "Rows left out" not in caplog.text
    recorded = {
        "num_passages": 8,
        "num_tokens": 52,
        "left_out": {"blank": 2, "fewer_than_two_tokens": 1},
        "num_cut": 6,
        "num_unknown": 2,
    }
    corpus = yaml.safe_load(Path("out/config.yaml").read_text())["provenance"]["corpus"]
    assert recorded.items() <= corpus.items()
    for name in ("manifest.json", "metadata.json"):
        assert json.loads(Path("out", name).read_text())["text"] == recorded


def test_nothing_is_told_of_a_text_that_was_measured_whole(asked, capsys, caplog):
    text = write("rows.txt", "\n".join(TEXTS))
    words = [f"--{name}={value}" for name, value in asked.items() if name != "max_length"]

    assert cli.main(["layers", *words, f"--dataset={text}"]) == 0

    assert not re.search("left out|[Cc]ut at|Unknown", capsys.readouterr().out + caplog.text)


def test_a_run_on_data_in_memory_says_so_and_cannot_be_repeated_from_its_file(
    asked, no_figures, capsys
):
    first = backlight.layers(**asked, dataset=TEXTS, output_dir="out")
    config = yaml.safe_load(Path("out/config.yaml").read_text())

    assert config["dataset"] == "in memory"
    assert config["provenance"]["corpus"]["num_passages"] == 5
    assert len(config["provenance"]["corpus"]["rows_sha256"]) == 64
    assert cli.main(["layers", "out/config.yaml"]) == 2
    assert "backlight: This is the config of a run whose text was handed over in Python" in (
        capsys.readouterr().err
    )
    again = backlight.layers("out/config.yaml", dataset=TEXTS)
    assert again.tables["layers"]["mean_abs"].tolist() == (
        first.tables["layers"]["mean_abs"].tolist()
    )


@pytest.mark.parametrize("finished", [False, True])
def test_a_run_goes_on_with_the_same_data_in_memory_only(asked, finished, no_figures, monkeypatch):
    monkeypatch.setattr(progress, "CHECKPOINT_SECONDS", 0.0)
    asked = {**asked, "output_dir": "out"}
    if finished:
        backlight.layers(**asked, dataset=TEXTS)
    else:
        with stopping(setup, "profile", 1), pytest.raises(KeyboardInterrupt):
            backlight.layers(**asked, dataset=TEXTS)

    with pytest.raises(RunDirectoryError, match=r"other data in memory|The corpus changed since"):
        backlight.layers(**asked, dataset=TEXTS[::-1], resume=True)
    resumed = backlight.layers(**asked, dataset=iter(TEXTS), resume=True)
    whole = backlight.layers(**{**asked, "output_dir": None}, dataset=TEXTS)
    np.testing.assert_allclose(
        resumed.tables["layers"]["mean_abs"], whole.tables["layers"]["mean_abs"], rtol=1e-12
    )


def test_texts_do_not_stand_in_a_file_of_options(asked):
    Path("config.yaml").write_text("dataset: [a.txt, b.txt]\n")

    with pytest.raises(ConfigError, match=r"dataset: a file of options names one dataset"):
        backlight.layers("config.yaml", **asked)


@pytest.mark.parametrize(
    "measured",
    [
        lambda subject, text: backlight.layers(subject=subject, dataset=text),
        lambda subject, text: backlight.flow(subject=subject, dataset=text),
        lambda subject, text: backlight.train_sae(
            subject=subject, dataset=text, layer=1, num_tokens=9
        ),
        lambda subject, text: backlight.tokens(
            subject=subject, template=text[0], answer=" light", target_layers=0
        ),
    ],
    ids=["layers", "flow", "train-sae", "tokens"],
)
@pytest.mark.parametrize("text", [["light falls new98 through"], ["new97 new97 new97 new97"]])
def test_a_token_that_the_model_has_not_is_refused_by_every_command(subject, measured, text):
    with pytest.raises(
        DatasetError, match=r"has the token id \d+ \('new\d+'\), but .* tokens, 0 to"
    ):
        measured(subject, text * 5)


def test_a_token_that_the_model_has_not_is_refused_by_the_doctor(subject, monkeypatch):
    monkeypatch.setattr(doctor_probe, "load", lambda _: subject)

    with pytest.raises(DatasetError, match=r"has the token id \d+ \('new96'\)"):
        doctor_probe.probe(DoctorConfig(dataset=["light new96 falls"], model_name="any"))


@pytest.mark.parametrize("ids", [[[5, 6], [5, -100]], [[5, 6], [5, 10**6]], [[5, 6], [2**62, 1]]])
def test_token_ids_that_the_model_has_not_are_refused(asked, ids):
    with pytest.raises(DatasetError, match=r"Passage 1 has the token id -?\d+"):
        backlight.layers(**asked, dataset=ids)


@pytest.mark.parametrize("name", ["gpt2", "opt"])
def test_a_passage_beyond_learned_positions_is_refused_by_every_command(asked, name):
    folder = str(save_causal(Path(name), name))
    options = {**asked, "model_name": folder, "max_length": 65, "dataset": ["light falls " * 40]}
    config = DoctorConfig(**{**options, "batch_size": 1})

    for measured in (backlight.layers, backlight.flow):
        with pytest.raises(ConfigError, match=r"reads at most 64 tokens, .* passages of 65; lower"):
            measured(**options)
    with pytest.raises(ConfigError, match=r"reads at most 64 tokens"):
        backlight.train_sae(**options, layer=0, num_tokens=60)
    with pytest.raises(ConfigError, match=r"reads at most 64 tokens"):
        doctor_probe.probe(config)
    assert mean_abs({**options, "max_length": 64})


@pytest.mark.parametrize("given", ["all", 10**6])
def test_all_rows_of_a_text_can_be_measured(options, given):
    found = backlight.layers(**options, num_samples=given)

    assert found.metadata["text"]["num_passages"] == 14
    assert found.config["num_samples"] == given


@pytest.mark.parametrize("wrong", ["some", "", None, 2.5, -1])
def test_a_number_of_rows_is_a_number_or_all(options, wrong):
    with pytest.raises(ConfigError, match=r"^num_samples: Input should be .* \(got "):
        backlight.layers(**options, num_samples=wrong)
