"""Shapes are checked, seeds are fixed, and nothing reaches for the network."""

import logging
import os

import pytest
import torch
from hypothesis import settings
from jaxtyping import install_import_hook

import zoo.checking
from zoo.buckets import bucket, memory
from zoo.folders import lines, save_causal
from zoo.stacks import is_missing

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

_HOOK = install_import_hook(zoo.checking.with_shapes(), "zoo.checking.check")


settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")


def pytest_collection_modifyitems(items):
    """Skip what the installed torch or Transformers is too old for, and say so."""
    for item in items:
        reason = is_missing(item.nodeid)
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_make_parametrize_id(val, argname):
    """Name bytes by their number: packed ones hold the time, and workers must agree on names."""
    return f"{len(val)}_bytes" if isinstance(val, bytes) else None


@pytest.fixture(autouse=True)
def _same_numbers_each_time():
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _no_command_before_was_quiet():
    logging.getLogger("backlight").setLevel(logging.NOTSET)


@pytest.fixture
def far_from_results(request, monkeypatch):
    """Stand where no path from here to a temporary folder is shorter than the whole one."""
    monkeypatch.chdir(request.path.parent)


@pytest.fixture(scope="session")
def _wirings(tmp_path_factory):
    return tmp_path_factory.mktemp("wirings")


@pytest.fixture(autouse=True)
def _what_was_found_is_kept_apart(monkeypatch, _wirings):
    """Keep what tests find out of the user's cache directory."""
    sizes = "backlight.surveys.driver.material.remembered_sizes.sizes_folder"
    monkeypatch.setattr(sizes, lambda: _wirings / "batch_sizes")
    monkeypatch.setattr("backlight.models.discovery.remembering.wirings_folder", lambda: _wirings)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """A tiny Llama of three layers with its tokenizer, as a user has a model on disk."""
    return save_causal(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(scope="session")
def text_file(tmp_path_factory):
    """Fourteen rows that count, of uneven length, among some that are blank."""
    rows = lines(14)
    path = tmp_path_factory.mktemp("text") / "rows.txt"
    path.write_text("\n".join(["   ", *rows[:7], "", *rows[7:]]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def options(model_folder, text_file):
    """Options of a survey of the tiny model, without where results go."""
    return {
        "model_name": str(model_folder),
        "dataset": str(text_file),
        "device": "cpu",
        "batch_size": 3,
        "max_length": 20,
    }


@pytest.fixture
def survey(options):
    """Write the words of that survey on the command line, with options replaced or added."""

    def words(**others):
        written = ["layers"]
        for name, value in {**options, **others}.items():
            written += [f"--{name}"] if value is True else [f"--{name}", str(value)]
        return written

    return words


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory, model_folder, text_file):
    """A finished run of two layers with both modes and all figures; copy it before changing it."""
    from backlight import layers  # after the hook

    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("finished") / "run"
    layers(
        model_name=str(model_folder),
        dataset=str(text_file),
        device="cpu",
        batch_size=3,
        max_length=20,
        layers="0,2",
        aggregation_mode="both",
        output_dir=path,
    )
    return path


@pytest.fixture
def no_pixels(monkeypatch):
    """Draw figures but do not render them, for tests that are about their names."""
    from backlight.report import rendering  # after the hook

    monkeypatch.setattr(rendering, "rendered", lambda name, figure: b"")


@pytest.fixture
def no_figures(monkeypatch):
    """Leave figures out, for tests that are about numbers."""
    from backlight.surveys.layers import figures  # after the hook

    monkeypatch.setattr(figures, "draw", lambda results: iter(()))


@pytest.fixture(params=["memory", "s3"])
def url(request, monkeypatch):
    """A place on another file system: of this process, or of an S3 server."""
    if request.param == "memory":
        yield memory()
        return
    with bucket(monkeypatch) as place:
        yield place
