"""What was found is found once, and proven each time; what it costs is counted."""

import json
import logging

import pytest
import torch

from backlight.models.discovery import finding, remembering
from backlight.models.loading import subject_from_transformers
from zoo.every_type import tiny
from zoo.tokenizers import WordTokenizer

OF_THE_CONTRACT = 7  # passes of a module that is not known, before its wiring is looked for


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setattr(remembering, "wirings_folder", lambda: tmp_path)
    return tmp_path


@pytest.fixture
def searches(monkeypatch):
    """Count how often a wiring is looked for."""
    made = []
    search = finding._Finding.found

    def counted(self):
        made.append(self.subject.name)
        return search(self)

    monkeypatch.setattr(finding._Finding, "found", counted)
    return made


def load(model):
    return subject_from_transformers(model, WordTokenizer(), name="tiny")


def counted(model):
    """Load a model, and list how many tokens each of its passes had."""
    passes = []
    embedding = model.get_input_embeddings()
    handle = embedding.register_forward_hook(lambda m, i, o: passes.append(i[0].numel()))
    subject = load(model)
    handle.remove()
    return subject, passes


@pytest.mark.parametrize("name", ["olmo3", "nemotron_h", "persimmon", "minimax", "jetmoe"])
def test_a_wiring_costs_six_passes_of_32_tokens_and_three_when_it_was_found_before(name, folder):
    model = tiny(name)
    first, once = counted(model)
    second, again = counted(model)

    assert sum(once[OF_THE_CONTRACT:]) <= 6 * 32  # some passes are of ten tokens only
    assert sum(again[OF_THE_CONTRACT:]) <= (3 if list(folder.iterdir()) else 6) * 32
    assert max(once) <= 32
    assert second.sites == first.sites
    assert second.wiring == first.wiring


def test_what_was_found_is_not_looked_for_again(folder, searches):
    load(tiny("olmo3"))
    assert [file.suffix for file in folder.iterdir()] == [".json"]
    load(tiny("olmo3"))
    assert len(searches) == 1


def test_another_configuration_is_another_model(folder, searches):
    model = tiny("olmo3")
    load(model)
    model.config.initializer_range = 0.5
    load(model)
    assert len(searches) == 2
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("part", ["configuration", "shape", "class", "version", "source"])
def test_a_key_names_all_that_decides_a_wiring(part, monkeypatch, tmp_path):
    def source(text):
        file = tmp_path / "hand.py"
        file.write_text(text)
        return type("file", (), {"__file__": str(file)})

    monkeypatch.setitem(remembering.sys.modules, "hand", source("one"))
    kind, other = (type(name, (torch.nn.Linear,), {"__module__": "hand"}) for name in "AB")
    before = remembering.key_of(torch.nn.Sequential(kind(2, 2)), "{}")
    assert before == remembering.key_of(torch.nn.Sequential(kind(2, 2)), "{}")
    model = torch.nn.Sequential({"shape": kind(2, 3), "class": other(2, 2)}.get(part, kind(2, 2)))
    if part == "version":
        monkeypatch.setattr(remembering, "version", lambda name: "99")
    if part == "source":
        source("two")
    text = "{ }" if part == "configuration" else "{}"
    assert remembering.key_of(model, text) != before


def test_a_class_without_a_source_file_has_no_key():
    kind = type("Typed", (torch.nn.Linear,), {"__module__": "of_no_file"})
    assert remembering.key_of(kind(2, 2), "{}") is None


@pytest.mark.parametrize("fault", ["empty", "cut", "other numbers", "other key", "a folder"])
def test_a_file_that_is_not_what_was_written_is_found_out_anew_and_written_anew(
    fault, folder, searches
):
    load(tiny("olmo3"))
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    kept = json.loads(whole)
    if fault == "empty":
        file.write_bytes(b"")
    elif fault == "cut":
        file.write_bytes(whole[:100])
    elif fault == "other numbers":
        kept["found"] = kept["found"].replace('"multiplier":1.0', '"multiplier":2.0')
        file.write_text(json.dumps(kept))
    elif fault == "other key":
        file.write_text(json.dumps({**kept, "key": "0" * 64}))
    else:
        file.unlink()
        file.mkdir()
    subject = load(tiny("olmo3"))
    assert len(searches) == 2
    assert subject.wiring == "sequential"
    assert file.is_dir() or file.read_bytes() == whole


def test_what_does_not_hold_for_this_model_is_found_out_anew(folder, searches):
    load(tiny("olmo3"))
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    kept = json.loads(whole)
    found = kept["found"].replace('"kept":1.0', '"kept":2.0', 1)
    remembered = {"key": kept["key"], "found": found, "digest": remembering._digest(found)}
    file.write_text(json.dumps(remembered))
    load(tiny("olmo3"))
    assert len(searches) == 2
    assert file.read_bytes() == whole


def test_a_model_that_was_not_understood_whole_is_not_remembered(folder):
    model = tiny("olmo3")
    torch.nn.init.zeros_(model.model.layers[1].post_feedforward_layernorm.weight)
    subject = load(model)
    problem = subject.sites["layers.1.mlp.contribution"].problem
    assert "layers.1.post_feedforward_layernorm gives nothing but zeros" in problem
    assert subject.sites["layers.0.mlp.contribution"].problem is None
    assert not list(folder.iterdir())


def test_a_folder_that_cannot_be_written_is_said(folder, monkeypatch, caplog):
    (folder / "file").write_text("")
    monkeypatch.setattr(remembering, "wirings_folder", lambda: folder / "file" / "in it")
    with caplog.at_level(logging.WARNING):
        assert load(tiny("olmo3")).wiring == "sequential"
    assert "could not be kept" in caplog.text
