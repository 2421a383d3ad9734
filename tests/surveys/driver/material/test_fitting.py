"""A model that is larger than --memory is measured block by block, with the same numbers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

import backlight
from backlight.errors import ConfigError
from backlight.surveys.driver.material import fitting
from backlight.surveys.driver.options.memory import parse_size
from zoo.dictionaries import written
from zoo.folders import lines, numbers, save_causal, save_tokenizer

pytestmark = pytest.mark.usefixtures("place")

LITTLE = "230kB"  # less than the weights of a tiny model and a pass; more than a block
MUCH = "50MB"


@pytest.fixture
def _from_nothing(monkeypatch):
    """Count memory from here on, not that of the process."""
    monkeypatch.setattr(fitting, "anonymous_memory", lambda: 0)


@pytest.fixture
def asked(tmp_path):
    """Options of a quick survey."""
    Path("text.txt").write_text("\n".join(lines(9)))
    folder = save_causal(tmp_path / "llama")
    return {
        "model_name": str(folder),
        "dataset": "text.txt",
        "device": "cpu",
        "batch_size": 2,
        "max_length": 16,
        "figures": "none",
    }


def told(run):
    return yaml.safe_load(Path(run, "config.yaml").read_text())["provenance"].get("memory")


@pytest.mark.usefixtures("_from_nothing")
@pytest.mark.parametrize(
    ("survey", "options"),
    [
        (backlight.layers, {}),
        (backlight.layers, {"aggregate_by": "grad_x_act", "aggregation_mode": "both"}),
        (backlight.layers, {"aggregate_by": "values", "site": "resid.post"}),
        (backlight.layers, {"aggregate_by": "fisher", "site": "attn.q", "layers": "1-2"}),
        (backlight.layers, {"site": "attn.z"}),
        (backlight.flow, {}),
    ],
)
def test_numbers_are_the_same_bytes_with_and_without(asked, survey, options):
    for memory, name in ((None, "whole"), (MUCH, "fits"), (LITTLE, "passing")):
        survey(**asked, **options, memory=memory, output_dir=name)
    assert told("whole") is None
    assert told("fits")["way"] == "whole"
    assert told("passing")["way"] == "block by block"
    found = [numbers(Path(name)) for name in ("whole", "fits", "passing")]
    assert found[0] == found[1] == found[2] != {}


@pytest.mark.usefixtures("_from_nothing")
@pytest.mark.parametrize(
    "options",
    [{"splice": "error"}, {"splice": "error", "active_only": True}, {"splice": "replace"}],
)
def test_numbers_of_features_are_the_same_bytes_too(asked, options, tmp_path):
    written(tmp_path / "sae", (0, 2))
    options |= {"sae_path": str(tmp_path / "sae"), "allow_poor_reconstruction": True}
    for memory, name in ((None, "whole"), (LITTLE, "passing")):
        backlight.sae(**asked, **options, memory=memory, output_dir=name)
    assert told("passing")["way"] == "block by block"
    assert numbers(Path("whole")) == numbers(Path("passing")) != {}


@pytest.mark.usefixtures("_from_nothing")
def test_a_run_may_go_on_under_another_limit(asked):
    first = backlight.layers(**asked, memory=LITTLE, output_dir="run")
    again = backlight.layers(**asked, memory=MUCH, output_dir="run", resume=True)
    assert again.tables["layers"].columns.keys() == first.tables["layers"].columns.keys()


@pytest.mark.usefixtures("_from_nothing")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backward": "frozen"}, "--backward frozen cannot be measured .*Use --backward true, or"),
        ({"path": 2}, "--path cannot be measured block by block. Leave --path out, or give more"),
        ({"aggregate_by": "hessian_diagonal"}, "hessian_diagonal cannot be .*Use fisher, or give"),
        ({"check": True}, "--check cannot be measured .*`backlight check` where the model fits"),
    ],
)
def test_what_needs_the_whole_model_is_refused_before_it_is_loaded(
    asked, options, message, monkeypatch
):
    monkeypatch.setattr(fitting, "load_passing_subject", None)
    with pytest.raises(ConfigError, match=message):
        backlight.layers(**asked, **options, memory=LITTLE)


@pytest.mark.usefixtures("_from_nothing")
def test_what_needs_the_whole_model_is_measured_where_it_fits(asked):
    found = backlight.layers(**asked, path=2, memory=MUCH)
    assert len(found.tables["layers"]["layer"]) == 3


@pytest.mark.usefixtures("_from_nothing")
def test_a_limit_below_one_block_is_refused_with_the_numbers(asked):
    with pytest.raises(ConfigError, match=r"too little .* even block by block: 2 x 16 tokens take"):
        backlight.layers(**asked, memory="20kB")


def test_the_process_itself_counts(asked):
    with pytest.raises(
        ConfigError, match=r"about [\d.]+ [MG]B \([\d.]+ [MG]B the process as it is"
    ):
        backlight.layers(**asked, memory="100MB")


def test_a_loaded_model_is_not_loaded_within_anything(asked, model_folder):
    model = AutoModelForCausalLM.from_pretrained(model_folder)
    subject = backlight.load_subject(model_folder, device="cpu")
    assert isinstance(model, torch.nn.Module)
    with pytest.raises(ConfigError, match="A subject is given, so memory would have no effect"):
        backlight.layers(subject=subject, dataset=asked["dataset"], memory="4GB")


@pytest.mark.parametrize(
    ("text", "size"),
    [("4GB", 4 * 10**9), ("512MB", 512 * 10**6), ("2.5GiB", 5 * 2**29), ("1 TB", 10**12)],
)
def test_sizes_are_read_as_they_are_written(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["4", "GB", "-1GB", "4 Gb", "0GB", "4GBs"])
def test_what_is_no_size_is_refused(asked, text):
    with pytest.raises(ConfigError, match=r"memory: (write a size|it must be more than nothing)"):
        backlight.layers(**asked, memory=text)
    with pytest.raises(ConfigError, match=r"memory: (write a size|it must be more than nothing)"):
        backlight.sae(**asked, sae_path="smollm2", memory=text)


_MEASURED = """
import json, sys, threading, time
from pathlib import Path
import backlight, torch, transformers
from backlight.models.memory import anonymous_memory

def watch():
    while True:
        seen.append(anonymous_memory())
        time.sleep(0.001)

torch.set_num_threads(1)
options, small = json.loads(sys.argv[1]), json.loads(sys.argv[2])
backlight.layers(**small)  # what every survey loads and imports
before, seen = anonymous_memory(), []
if options["memory"] is not None:
    options["memory"] = f"{before + options['memory']}B"
threading.Thread(target=watch, daemon=True).start()
backlight.layers(**options)
print(max(seen) - before)
"""


def peak(small, **options):
    """Measure in a process of its own how much memory comes on top of what it begins with."""
    command = [sys.executable, "-c", _MEASURED, json.dumps(options), json.dumps(small)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.slow
def test_the_peak_is_less_than_half_of_the_whole_pass_s(asked, tmp_path):
    config = LlamaConfig(
        hidden_size=256,
        intermediate_size=1024,
        num_hidden_layers=24,
        num_attention_heads=4,
        vocab_size=64,
    )
    folder = tmp_path / "larger"
    LlamaForCausalLM(config).bfloat16().save_pretrained(folder)  # 50 MB, of which 100 are made
    save_tokenizer(folder)
    larger = {**asked, "model_name": str(folder)}
    whole = peak(asked, **larger, memory=None, output_dir="whole")
    passing = peak(asked, **larger, memory=60 * 10**6, output_dir="passing")
    assert numbers(Path("whole")) == numbers(Path("passing"))
    assert told("passing")["way"] == "block by block"
    assert passing < whole / 2
