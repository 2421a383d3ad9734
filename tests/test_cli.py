import errno
import json
import re
import subprocess
import sys

import pytest
import torch
import yaml

from backlight import cli
from backlight.runs import files
from backlight.surveys.layers.measure import setup
from zoo.folders import contents, save_bert, save_causal, save_t5


@pytest.fixture(scope="module")
def other_models(tmp_path_factory):
    """Folders of models that are not causal, and of one with a NaN in it."""
    folder = tmp_path_factory.mktemp("others")
    save_bert(folder / "bert")
    save_t5(folder / "t5")
    save_causal(folder / "broken", nan_in="model.layers.1.mlp.down_proj.weight")
    return folder


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory with the kinds of files that users stumble over."""
    (tmp_path / "empty.txt").touch()
    (tmp_path / "short.txt").write_text("one\ntwo\n", encoding="utf-8")
    (tmp_path / "single.txt").write_text("x" * 60, encoding="utf-8")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").write_text("years of work", encoding="utf-8")
    (tmp_path / "hollow").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def refused(place, capsys):
    """Run words that are a user's mistake; give the sentence, and see that nothing was written."""

    def run(words):
        before = contents(place), sorted(place.rglob("*"))
        capsys.readouterr()

        status = cli.main(words)

        printed = capsys.readouterr()
        assert status == 2, printed.err
        assert printed.out == ""
        assert len(printed.err.splitlines()) == 1, printed.err
        assert printed.err.startswith("backlight: ")
        assert (contents(place), sorted(place.rglob("*"))) == before
        return printed.err

    return run


MISTAKES = [
    ({"layers": "one"}, r"Layers 'one' cannot be read at 'one': write 0-23, 0,5,10, 0-5,7 or all"),
    ({"layers": "2-0"}, r"Layers '2-0': the range 2-0 runs backwards"),
    ({"layers": "0-23"}, r"Layers '0-23' go beyond this model: it has 3 layers, 0 to 2"),
    ({"site": "mlp.ou"}, r"no site 'mlp\.ou' among its \d+\. Did you mean mlp\.out or mlp\.in"),
    ({"site": "layers.9.mlp.out"}, r"no site 'layers\.9\.mlp\.out' .* layers\.\d\.mlp\.out"),
    ({"site": "logits"}, r"logits belongs to no layer"),
    ({"site": "*.out"}, r"'\*\.out' is more than one site in a layer \(layers\.0\.norm1\.out, "),
    ({"site": "layers.1.mlp.out"}, r"Layers 0_2 have no 'layers\.1\.mlp\.out'"),
    ({"dataset": "empty.txt"}, r"The dataset 'empty\.txt' is empty: it has no rows"),
    ({"dataset": "short.txt"}, r"None of the 2 passages has two tokens or more"),
    ({"dataset": "single.txt"}, r"None of the 1 passages has two tokens or more"),
    ({"dataset": "lost.txt"}, r"There is no file 'lost\.txt'"),
    ({"dataset": "foreign"}, r"'foreign' is no text that backlight reads"),
    ({"model_name": "/no/such/folder"}, r"There is no folder '/no/such/folder'"),
    (
        {"model_name": "nobody/nothing"},
        r"'nobody/nothing' is not in the local cache\. The",
    ),
    ({"model_name": "hollow"}, r"hollow cannot be "),
    ({"device": "cuda:7"}, r"There is no device 'cuda:7' here; there is cpu"),
    ({"device": "gpu"}, r"'gpu' is no device: write auto, cpu, cuda, cuda:N or mps"),
    ({"attn_implementation": "slow"}, r"cannot be loaded: Specified `attn_implementation=\"slow\""),
    ({"attn_implementation": "flash_attention_2"}, r"cannot be loaded: FlashAttention2 has been"),
    ({"num_sampels": 5}, r"Unknown option: --num_sampels\. Did you mean --num_samples\?"),
    ({"num_samples": 0}, r"num_samples: Input should be greater than 0"),
    (
        {"num_samples": "many", "aggregation_mode": "median"},
        r"num_samples: .* valid integer.*; aggregation_mode: .* 'mean', 'mean_abs', 'rms' or 'both",
    ),
    ({"config": "lost.yaml"}, r"There is no file 'lost\.yaml'"),
    ({"output_dir": "foreign"}, r"'foreign' exists and holds files that are no run of backlight"),
    ({"output_dir": "foreign", "overwrite": True}, r"holds files that are no run of backlight"),
    ({"output_dir": "foreign", "resume": True}, r"holds files that are no run of backlight"),
    ({"output_dir": "empty.txt"}, r"'empty\.txt' is a file, not a directory for results"),
    ({"resume": True, "overwrite": True}, r"--resume and --overwrite exclude each other"),
    ({"output_dir": None, "resume": True}, r"no unfinished run with these options in 'runs'"),
]


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    MISTAKES,
    ids=[" ".join(f"{k}={v}" for k, v in m.items()) for m, _ in MISTAKES],
)
def test_a_mistake_is_one_sentence_and_writes_nothing(
    survey, refused, monkeypatch, mistake, sentence
):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    asked = {"output_dir": "out", **mistake}

    told = refused(survey(**{name: value for name, value in asked.items() if value is not None}))

    assert re.search(sentence, told), told


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("t5", r"is a t5 model, not a causal language model: backlight measures the next-token"),
        ("bert", r"is not a causal language model: a token's output changes with the tokens to"),
    ],
)
def test_a_model_that_is_not_causal_is_refused(survey, refused, other_models, name, sentence):
    told = refused(survey(model_name=other_models / name, output_dir="out"))

    assert re.search(sentence, told), told


def test_a_process_ends_with_the_status_and_one_line(survey, other_models, tmp_path):
    words = survey(model_name=other_models / "bert", output_dir="out")

    done = subprocess.run(
        [sys.executable, "-m", "backlight", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert done.stdout == ""
    first, told = done.stderr.splitlines()
    assert first == "Loading PyTorch and Transformers ..."
    assert "is not a causal language model" in told
    assert not list(tmp_path.iterdir())


def test_a_wrong_flag_of_another_command_is_told(refused, model_folder):
    told = refused(["sites", str(model_folder), "--layer", "0"])

    assert "Unknown option: --layer. Did you mean --layers?" in told


def test_layers_beyond_the_model_are_refused_by_sites_too(refused, model_folder):
    told = refused(["sites", str(model_folder), "--device", "cpu", "--layers", "3"])

    assert "Layers '3' go beyond this model: it has 3 layers, 0 to 2" in told


def test_a_command_that_does_not_exist_is_told(refused):
    assert "layers" in refused(["layer"])


def test_all_mistakes_in_a_file_are_told_at_once(refused, place):
    (place / "config.yaml").write_text(
        "num_sample: 5\nbatch_size: 0\naggregate_by: hessian\n", encoding="utf-8"
    )

    told = refused(["layers", "config.yaml"])

    assert "num_sample: no such option. Did you mean num_samples?" in told
    assert "batch_size: Input should be greater than 0 (got 0)" in told
    assert "aggregate_by: Input should be 'gradients', 'values', 'grad_x_act', 'fisher' or" in told


def test_a_wrong_file_is_not_saved_by_right_flags(refused, place):
    (place / "config.yaml").write_text("num_sample: 5\n", encoding="utf-8")

    assert "num_sample: no such option" in refused(["layers", "config.yaml", "--seed", "1"])


def test_an_existing_run_is_refused_without_overwrite(survey, refused, no_figures):
    assert cli.main(survey(output_dir="out")) == 0

    told = refused(survey(output_dir="out"))

    assert "'out' already holds a run. Give --overwrite to replace it, --resume" in told


def test_resuming_with_other_options_names_those_that_differ(survey, refused, no_figures):
    assert cli.main(survey(output_dir="out")) == 0

    told = refused(survey(output_dir="out", resume=True, seed=3, max_length=10))

    assert "'out' holds a run with other options (max_length: 20 -> 10; seed: 0 -> 3)" in told


def test_nothing_to_resume_lists_the_candidates(survey, refused, place, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(setup, "profile", stop)
        assert cli.main(survey(save_outputs=True)) == 130
    (run,) = (place / "runs").iterdir()

    told = refused(survey(resume=True, seed=3))

    assert f"Unfinished are: runs/{run.name} (seed: 0 -> 3)." in told


def test_flags_win_over_the_file_and_the_file_over_defaults(options, place, no_figures, capsys):
    (place / "config.yaml").write_text(
        yaml.safe_dump({**options, "layers": 1, "seed": 5, "num_samples": 6}), encoding="utf-8"
    )

    assert cli.main(["layers", "config.yaml", "--num_samples", "4", "--output_dir", "out"]) == 0

    kept = yaml.safe_load((place / "out" / "config.yaml").read_text(encoding="utf-8"))
    assert (kept["layers"], kept["seed"], kept["num_samples"]) == ("1", 5, 4)
    assert kept["aggregation_mode"] == "mean_abs"
    assert kept["provenance"]["corpus"]["num_passages"] == 4


def test_the_file_may_be_named_by_place_or_by_flag(options, place, no_figures):
    (place / "config.yaml").write_text(yaml.safe_dump(options), encoding="utf-8")

    assert cli.main(["layers", "config.yaml", "--output_dir", "one"]) == 0
    assert cli.main(["layers", "--config", "config.yaml", "--output_dir", "two"]) == 0

    one, two = contents(place / "one"), contents(place / "two")
    assert one["layer_0_mean_abs_gradients.npy"] == two["layer_0_mean_abs_gradients.npy"]


def test_a_flag_may_be_written_with_hyphens(survey, place, no_figures):
    words = [word.replace("_", "-") if word.startswith("--") else word for word in survey()]

    assert cli.main([*words, "--output-dir", "out", "--aggregation-mode", "rms"]) == 0
    assert (place / "out" / "layer_2_rms_gradients.npy").is_file()


def test_a_layer_that_is_nan_is_named_with_the_passage(survey, place, other_models, capsys):
    words = survey(model_name=other_models / "broken", output_dir="out", num_samples=1)

    assert cli.main(words) == 1

    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith("backlight: The loss of passage 0 is nan: ")
    assert "the first site that is not finite is layers.1.mlp.out" in told
    assert not (place / "out" / "manifest.json").exists()


def test_passages_longer_than_the_model_can_read_are_refused(survey, refused, place):
    save_causal(place / "gpt2", "gpt2")  # of 64 positions
    (place / "long.txt").write_text("light falls " * 50, encoding="utf-8")

    told = refused(survey(model_name="gpt2", dataset="long.txt", max_length=100, output_dir="out"))

    assert told == (
        "backlight: gpt2 reads at most 64 tokens, but there are passages of 100; "
        "lower --max_length (now 100).\n"
    )


def test_a_full_disk_is_a_failure_of_the_run(survey, place, monkeypatch, capsys):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)

    assert cli.main(survey(output_dir="out")) == 1

    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told == (
        "backlight: 'out/.written' cannot be written: No space left on device. Nothing was begun; "
        "make room, or name another --output_dir."
    )


def test_an_interrupt_is_told_how_to_go_on(survey, place, monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(setup, "profile", stop)

    assert cli.main(survey()) == 130
    assert "go on with --resume" in capsys.readouterr().err


def test_a_traceback_is_shown_only_when_asked_for(survey, place, capsys):
    assert cli.main(survey(layers="x")) == 2
    assert "Traceback" not in capsys.readouterr().err

    assert cli.main([*survey(layers="x"), "--debug"]) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "UnknownLayerError" in err


def test_what_backlight_has_to_say_is_shown(survey, place, caplog, no_figures):
    assert cli.main(survey(output_dir="out")) == 0
    assert cli.main(survey(output_dir="out", overwrite=True)) == 0

    assert "Replacing the run in out." in caplog.messages


def in_a_process(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


HEAVY = "('torch', 'transformers', 'matplotlib', 'numpy')"


def test_importing_the_package_loads_nothing_heavy():
    done = in_a_process(
        "import sys, backlight; "
        f"print([name for name in {HEAVY} if name in sys.modules], sorted(dir(backlight))[:2])"
    )

    assert done.stdout.strip() == "[] ['AttentionRule', 'Dictionary']", done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--help"], "train-sae"),
        (["layers", "--help"], "--aggregation_mode"),
        (["sae", "--help"], "--splice"),
        (["train-sae", "--help"], "--num_features"),
    ],
    ids=["all", "layers", "sae", "train-sae"],
)
def test_help_starts_without_torch(words, told):
    done = in_a_process(
        "import sys\nfrom backlight.cli import main\n"
        f"status = main({words!r})\n"
        "print([name for name in ('torch', 'transformers', 'matplotlib') if name in sys.modules])\n"
        "sys.exit(status)"
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert told in done.stdout


def test_overwriting_needs_a_directory(survey, refused):
    told = refused(survey(overwrite=True, save_outputs=True))

    sentence = "--overwrite says to replace a run, but not which: name --output_dir."
    assert told == f"backlight: {sentence}\n"


def test_the_call_sae_stays_a_call_when_everything_is_loaded():
    done = in_a_process(
        "import backlight, backlight.dictionaries.collection; first = backlight.sae; "
        "import backlight.surveys.features; print(callable(first), first is backlight.sae)"
    )

    assert done.stdout.split() == ["True", "True"], done.stderr


def test_the_doctor_s_verdict_is_the_exit_status(tmp_path, capsys):
    log = tmp_path / "norms.jsonl"
    steps = [{"step": step, "grad_norm": 1.0 + step % 3 / 10} for step in range(1, 41)]
    log.write_text("".join(f"{json.dumps(step)}\n" for step in steps))
    assert cli.main(["doctor", str(log)]) == 0
    assert "healthy" in capsys.readouterr().out
    steps[-1]["grad_norm"] = 1e9
    log.write_text("".join(f"{json.dumps(step)}\n" for step in steps))
    assert cli.main(["doctor", str(log), "--html", str(tmp_path / "page.html")]) == 1
    assert "since step 40" in capsys.readouterr().out
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")


def test_the_doctor_asks_what_it_is_to_judge(capsys):
    assert cli.main(["doctor"]) == 2
    assert "Name what is to be judged" in capsys.readouterr().err
