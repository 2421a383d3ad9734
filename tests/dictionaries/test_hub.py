"""A repository on the hub: names first, then what is told, then the weights that are asked for."""

import shutil
from fnmatch import fnmatch

import huggingface_hub
import pytest
import torch

from backlight.dictionaries import hub as of_hub
from backlight.dictionaries.collection import find_dictionaries
from backlight.errors import DictionaryError
from zoo.hubs import SIGN_OF_LIFE
from zoo.hubs import hub as a_hub

CPU = torch.device("cpu")
NAMES = {
    "mlp_out_layer_1/trainer_0": "dictionary_learning/batchtopk/trainer_0",
    "mlp_out_layer_3/trainer_0": "dictionary_learning/batchtopk/trainer_0",
    "wide/layer_3/width_16k/average_l0_71": "gemma_scope/gemma-scope-2b-pt-res/layer_3/width_16k/"
    "average_l0_71",
    "wide/layer_3/width_65k/average_l0_71": "gemma_scope/gemma-scope-2b-pt-res/layer_3/width_16k/"
    "average_l0_71",
    "scopes/Llama3_1-8B-Base-L3M-8x": "llama_scope/Llama3_1-8B-Base-L3M-8x",
    "scopes/SAE-Res-Qwen3-0.6B-Base-W1K-L0_5": "qwen_scope/SAE-Res-Qwen3-0.6B-Base-W1K-L0_5",
    "scopes/transcoders": "circuit_tracer/relu",
    "scopes/across": "circuit_tracer/cross_layer",
}


class Hub:
    """Stands for the hub: a repository ``owner/saes``, and what was fetched from it."""

    def __init__(self, source, cache):
        self.source, self.cache = source, cache
        self.fetched: list[str] = []
        self.reachable = True

    def files(self):
        found = (path for path in self.source.rglob("*") if path.is_file())
        return [path.relative_to(self.source).as_posix() for path in found]

    def list_repo_files(self, repository):
        self.check(repository)
        return self.files()

    def snapshot_download(self, repository, *, allow_patterns, local_files_only):
        if local_files_only or (not self.reachable and self.cache.is_dir()):
            if not self.cache.is_dir():
                raise huggingface_hub.errors.LocalEntryNotFoundError("not in the cache")
            return str(self.cache)
        self.check(repository)
        for name in self.files():
            if any(fnmatch(name, pattern) for pattern in allow_patterns):
                target = self.cache / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(self.source / name, target)
                self.fetched.append(name)
        return str(self.cache)

    def check(self, repository):
        if not self.reachable:
            raise huggingface_hub.errors.OfflineModeIsEnabled("no network")
        if repository != "owner/saes":
            raise FileNotFoundError("404")


@pytest.fixture
def hub(written, tmp_path, monkeypatch):
    source = tmp_path / "source"
    for name, place in NAMES.items():
        shutil.copytree(written / place, source / name)
    config = source / "mlp_out_layer_1" / "trainer_0" / "config.json"
    config.write_text(config.read_text().replace('"layer": 3', '"layer": 1').replace("r_3", "r_1"))
    hub = Hub(source, tmp_path / "cache")
    monkeypatch.setattr("huggingface_hub.list_repo_files", hub.list_repo_files)
    monkeypatch.setattr("huggingface_hub.snapshot_download", hub.snapshot_download)
    monkeypatch.setattr(of_hub, "why_unreachable", lambda: None)
    return hub


def test_only_what_is_told_is_fetched_until_weights_are_asked_for(hub):
    collection = find_dictionaries("owner/saes/mlp_out_layer_{layer}/trainer_0")
    assert list(collection.cards) == [1, 3]
    assert {name.rsplit("/", 1)[1] for name in hub.fetched} == {"config.json"}

    dictionary = collection.load(3, dtype=torch.float32, device=CPU)

    assert dictionary.num_features == 24
    assert [name for name in hub.fetched if name.endswith(".pt")] == [
        "mlp_out_layer_3/trainer_0/ae.pt"
    ]


def test_a_folder_inside_is_enough(hub):
    collection = find_dictionaries("owner/saes/mlp_out_layer_1")

    assert list(collection.cards) == [1]


def test_weights_with_nothing_told_beside_them_are_found_by_name(hub):
    collection = find_dictionaries("owner/saes/wide/layer_{layer}/width_16k")
    assert list(collection.cards) == [3]
    assert not hub.fetched

    assert collection.load(3, dtype=torch.float32, device=CPU).num_features == 24


@pytest.mark.parametrize(
    ("folder", "told", "weights"),
    [
        ("Llama3_1-8B-Base-L3M-8x", ["hyperparams.json"], "checkpoints/final.safetensors"),
        ("SAE-Res-Qwen3-0.6B-Base-W1K-L0_5", [], "layer3.sae.pt"),
        ("transcoders", ["config.yaml"], "layer_1.safetensors"),
    ],
)
def test_what_is_told_beside_each_format_is_fetched_first(folder, told, weights, hub):
    collection = find_dictionaries(f"owner/saes/scopes/{folder}")
    assert hub.fetched == [f"scopes/{folder}/{name}" for name in told]

    collection.load(max(collection.cards), dtype=torch.float32, device=CPU)

    assert f"scopes/{folder}/{weights}" in hub.fetched
    assert not any("expected" in name or "layer_0" in name for name in hub.fetched)


def test_the_decoder_of_a_cross_layer_transcoder_is_fetched_with_its_encoder(hub):
    collection = find_dictionaries("owner/saes/scopes/across")
    assert hub.fetched == ["scopes/across/config.yaml"]

    collection.load(1, dtype=torch.float32, device=CPU)

    weights = [name for name in hub.fetched if name.endswith(".safetensors")]
    assert weights == [f"scopes/across/W_{part}_1.safetensors" for part in ("enc", "dec")]


def test_several_widths_are_listed_before_any_is_fetched(hub):
    message = r"2 dictionaries for layer 3: .*width_16k/.*, .*width_65k/.*; name one"
    with pytest.raises(DictionaryError, match=message):
        find_dictionaries("owner/saes/wide")

    assert not hub.fetched


def test_without_a_network_what_was_fetched_before_is_found(hub):
    path = "owner/saes/mlp_out_layer_{layer}/trainer_0"
    find_dictionaries(path).load(3, dtype=torch.float32, device=CPU)
    hub.reachable = False

    assert list(find_dictionaries(path).cards) == [3]


def test_a_repository_that_cannot_be_reached_is_told_in_a_sentence(hub):
    hub.reachable = False

    with pytest.raises(
        DictionaryError, match=r"no folder 'owner/saes', and the hub's .* not be fetched either"
    ):
        find_dictionaries("owner/saes")


def test_a_network_that_fails_between_is_told_too(hub):
    collection = find_dictionaries("owner/saes/mlp_out_layer_1")
    hub.reachable = False

    with pytest.raises(DictionaryError, match="It could not be fetched either"):
        collection.load(1, dtype=torch.float32, device=CPU)


def test_a_repository_without_dictionaries_is_refused(hub):
    with pytest.raises(DictionaryError, match="There is no dictionary in 'owner/saes/elsewhere'"):
        find_dictionaries("owner/saes/elsewhere")


@pytest.mark.parametrize("client", ["httpx", "httpx2"])
def test_no_network_at_all_is_one_sentence(monkeypatch, client):
    http = pytest.importorskip(client)

    def unreachable(*_, **__):
        raise http.ConnectError("Name or service not known")

    monkeypatch.setattr(huggingface_hub, "list_repo_files", unreachable)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    monkeypatch.setattr(of_hub, "why_unreachable", lambda: None)
    with pytest.raises(DictionaryError, match="owner/saes"):
        find_dictionaries("owner/saes")


def test_a_hub_that_cannot_be_reached_is_not_asked_for_dictionaries_again_and_again(monkeypatch):
    message = r"is not in the local cache\. The hub .* cannot be reached: "
    with a_hub(monkeypatch, b"") as asked, pytest.raises(DictionaryError, match=message):
        find_dictionaries("nobody/nothing")

    assert asked[:2] == [SIGN_OF_LIFE] * 2
    assert not any("nobody" in each for each in asked)
