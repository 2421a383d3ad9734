"""A model that was measured is the model that it was before, to the last bit."""

import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

import backlight
from backlight.capture.record import record, record_activations
from backlight.capture.splice import splicing
from backlight.data.batches import Batch, Passages
from backlight.errors import ModelError
from backlight.models.blocks.rerun import Blocks
from backlight.models.lending import borrowed
from backlight.models.loading import subject_from_transformers
from backlight.models.modules import subject_from_module
from backlight.tools.doctor.probe import probe_subject
from backlight.training.log.reading import read_history
from zoo.dictionaries import written
from zoo.folders import lines
from zoo.models import tiny_model
from zoo.tokenizers import WordTokenizer

VOCABULARY, WIDTH = 99, 8


class Busy(nn.Module):
    """A model that writes into itself and draws random numbers whenever it is run."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.blocks = nn.ModuleList(_Block() for _ in range(2))
        self.out = nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.out.weight = self.embedding.weight
        self.embedding.weight.register_hook(lambda gradient: gradient * 1.0)
        self.register_buffer("calls", torch.zeros(1))
        self.calls_so_far, self.lengths = 0, []
        self.by_length = {"longest": 0}
        self.own, self.dice = torch.Generator(), random.Random(3)
        self.numbers = np.random.default_rng(3)

    def forward(self, ids):
        self.calls += 1
        self.calls_so_far += 1
        self.lengths.append(ids.shape[1])
        self.by_length["longest"] = max(ids.shape[1], self.by_length["longest"])
        self.newest = ids
        for draw in (torch.rand, lambda _: random.random(), lambda _: np.random.rand()):
            draw(1)
        torch.rand(1, generator=self.own)
        self.dice.random()
        self.numbers.random()
        x = self.embedding(ids)
        for block in self.blocks:
            x = block(x)
        return self.out(x)


class _Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(WIDTH)
        self.up, self.drop = nn.Linear(WIDTH, WIDTH), nn.Dropout(0.3)

    def forward(self, x):
        y = self.norm(x.transpose(1, 2)).transpose(1, 2).cumsum(dim=1)
        return x + self.drop(torch.tanh(self.up(y)))


def half_way(model):
    """Bring a model into a state that nobody would choose: partly frozen, half-way in a step."""
    model.train()
    modules = list(model.modules())
    modules[-1].eval()
    parameters = list(model.parameters())
    parameters[0].requires_grad_()
    parameters[1].requires_grad_(requires_grad=False)
    for parameter in parameters[2:4]:
        parameter.grad = torch.randn_like(parameter)
    modules[1].register_forward_hook(lambda module, inputs, output: None)
    return model


def state_of(model):
    """All of a model, and of what it shares with others, that a measurement could change.

    But for Python's own random numbers: what checks shapes in these tests draws from them.
    """
    found = {
        "modes": [module.training for module in model.modules()],
        "hooks": [
            [list(hooks) for name, hooks in vars(module).items() if name.endswith("_hooks")]
            for module in model.modules()
        ],
        "attributes": [sorted(vars(module)) for module in model.modules()],
        "needs": [parameter.requires_grad for parameter in model.parameters()],
        "identities": [id(each) for each in (*model.parameters(), *model.buffers())],
        "versions": [parameter._version for parameter in model.parameters()],
        "numbers": {name: value.tolist() for name, value in model.state_dict().items()},
        "gradients": [
            each.grad if each.grad is None else each.grad.tolist() for each in model.parameters()
        ],
        "torch": torch.get_rng_state().tolist(),
        "numpy": [str(part) for part in np.random.get_state()],
        "modes of torch": (
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.is_autocast_enabled("cpu"),
        ),
    }
    if isinstance(model, Busy):
        own = (model.own.get_state().tolist(), model.dice.getstate())
        found["own"] = (*own, model.numbers.bit_generator.state)
        found["written"] = (model.calls_so_far, list(model.lengths), dict(model.by_length))
    else:
        found["kernel"] = model.config._attn_implementation
    return found


def some_batch():
    numbers = np.random.default_rng(0)
    passages = Passages(tokens=[numbers.integers(3, 99, length) for length in (9, 6)])
    return Batch.of(passages, (0, 1))


def a_subject(kind, folder=None):
    torch.manual_seed(0)
    if kind == "module":
        return subject_from_module(half_way(Busy()), WordTokenizer())
    tokenizer = WordTokenizer() if folder is None else AutoTokenizer.from_pretrained(folder)
    return subject_from_transformers(half_way(tiny_model(kind)), tokenizer, name=kind)


def surveys(subject, tmp_path, text_file):
    """Everything that runs a model, by its name."""
    batch = some_batch()
    common = {"subject": subject, "dataset": str(text_file), "max_length": 12}
    few = {**common, "num_samples": 4}
    if subject.wiring is None:
        sites = [subject.sites[f"blocks.{layer}"] for layer in range(2)]
        yield "layers", lambda: backlight.layers(**few, site="blocks.*.up")
    else:
        sites = [subject.sites[f"layers.{layer}.mlp.out"] for layer in range(2)]
        asked = {
            "subject": subject,
            "template": "the {thing} of light comes",
            "answer": " {goal}",
            "fields": {"thing": ["word", "layer"], "goal": ["back", "up"]},
        }
        dictionaries = written(tmp_path / "dictionaries", model=subject.name)
        options = {"sae_path": str(dictionaries), "allow_poor_reconstruction": True}
        yield "layers", lambda: backlight.layers(**few)
        yield "values", lambda: backlight.layers(**few, aggregate_by="values", layers="0")
        yield "flow", lambda: backlight.flow(**few)
        yield "tokens", lambda: backlight.tokens(**asked)
        for splice in ("replace", "error"):
            yield (
                f"sae {splice}",
                lambda splice=splice: backlight.sae(**few, **options, splice=splice),
            )
        yield "doctor", lambda: probe_subject(subject, batch)
        yield "blocks", lambda: Blocks.of(subject)
        yield (
            "train_sae",
            lambda: backlight.train_sae(
                **common,
                layer=1,
                num_features=48,
                num_tokens=150,
                k=6,
                epochs=1,
                tokens_per_step=64,
                output_dir=tmp_path / "sae",
            ),
        )
    yield "record", lambda: record(subject, batch, sites, keep_activations=True)
    yield "record_activations", lambda: record_activations(subject, batch, sites)
    yield "forward", lambda: subject.forward(batch.input_ids)

    def splice_and_record():
        own = record_activations(subject, batch, sites[:1]).activations
        with splicing(subject, own):
            record(subject, batch, sites[1:])

    yield "splicing", splice_and_record


@pytest.mark.parametrize("kind", ["module", "llama", "gpt2", "bloom"])
def test_everything_that_measures_leaves_the_model_as_it_was(
    kind, tmp_path, text_file, model_folder
):
    subject = a_subject(kind, model_folder)
    before = state_of(subject.model)
    for name, measure in surveys(subject, tmp_path, text_file):
        measure()
        assert state_of(subject.model) == before, name


@pytest.mark.parametrize("kind", ["module", "llama", "persimmon"])
def test_putting_a_model_under_the_light_leaves_it_as_it_was(kind):
    torch.manual_seed(0)
    if kind == "module":
        model = half_way(Busy())
    elif kind == "llama":
        model = half_way(tiny_model("llama"))
    else:
        from transformers import CONFIG_MAPPING, AutoModelForCausalLM

        size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
        more = {"num_attention_heads": 4, "vocab_size": 99, "bos_token_id": 1, "eos_token_id": 2}
        config = CONFIG_MAPPING["persimmon"](**size, **more)
        model = half_way(AutoModelForCausalLM.from_config(config))
    before = state_of(model)

    make = subject_from_module if kind == "module" else subject_from_transformers
    make(model, WordTokenizer())

    assert state_of(model) == before


def test_hooks_that_a_forward_pass_adds_are_taken_off_again():
    model = tiny_model("llama")
    tokens = some_batch().input_ids
    model.config.output_hidden_states = True  # Transformers then hooks into its layers, once

    subject_from_transformers(model, WordTokenizer())

    assert not any(module._forward_hooks for module in model.modules())
    assert len(model(input_ids=tokens).hidden_states) == model.config.num_hidden_layers + 1


class _InTheMiddle(BaseException):
    pass


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, _InTheMiddle])
@pytest.mark.parametrize("kind", ["module", "llama"])
def test_an_error_in_the_middle_leaves_the_model_as_it_was(kind, error):
    subject = a_subject(kind)
    path = "blocks.1" if kind == "module" else "model.layers.1"
    site = subject.sites["blocks.0" if kind == "module" else "layers.0.attn.q"]

    def fail(module, inputs):
        raise error("in the middle")

    handle = subject.model.get_submodule(path).register_forward_pre_hook(fail)
    before = state_of(subject.model)
    for measure in (
        lambda: record(subject, some_batch(), [site]),
        lambda: subject.forward(some_batch().input_ids),
        lambda: subject_from_module(subject.model, WordTokenizer()),
    ):
        with pytest.raises((error, ModelError), match="in the middle"):
            measure()
        assert state_of(subject.model) == before
    handle.remove()


def test_a_refused_module_is_given_back_as_it_was():
    class Restless(Busy):
        def forward(self, ids):
            return functional.dropout(super().forward(ids), training=True)

    model = half_way(Restless())
    before = state_of(model)

    with pytest.raises(ModelError, match="other logits when it is asked the same a second time"):
        subject_from_module(model, WordTokenizer())

    assert state_of(model) == before


def train(model, logits_of, measure, *, at):
    """Train with dropout, a frozen parameter and two micro-batches a step; measure in between."""
    torch.manual_seed(4)
    random.seed(4)
    list(model.parameters())[1].requires_grad_(requires_grad=False)
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad])
    data = torch.Generator().manual_seed(9)
    model.train()
    for step in range(4):
        for part in range(2):
            ids = torch.randint(3, VOCABULARY, (2, 8), generator=data)
            loss = functional.cross_entropy(
                logits_of(model(ids))[:, :-1].flatten(0, 1), ids[:, 1:].flatten()
            )
            if "before backward" in at:
                measure()
            loss.backward()
            if "half-way" in at and part == 0:
                measure()
        optimizer.step()
        optimizer.zero_grad()
        if "between steps" in at and step == 1:
            measure()
    return {name: value.clone() for name, value in model.state_dict().items()}


def busy():
    return Busy(), lambda output: output, subject_from_module, "blocks.*"


def gpt2():
    config = GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=VOCABULARY, n_positions=64)
    make = subject_from_transformers
    return GPT2LMHeadModel(config), lambda output: output.logits, make, "mlp.out"


@pytest.mark.parametrize("at", ["half-way", "between steps", "before backward"])
@pytest.mark.parametrize("make", [busy, gpt2])
def test_a_training_with_measurements_in_it_ends_with_the_same_weights(make, at, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("\n".join(lines(2)), encoding="utf-8")
    ends = []
    for measures in (False, True):
        torch.manual_seed(1)
        model, logits_of, subject_from, site = make()

        def measure(model=model, subject_from=subject_from, site=site):
            subject = subject_from(model, WordTokenizer())
            backlight.layers(subject=subject, dataset=str(text), max_length=9, site=site)

        ends.append(train(model, logits_of, measure, at=at if measures else ""))

    for name, value in ends[0].items():
        assert torch.equal(value, ends[1][name]), name


def test_the_watch_of_a_training_does_not_see_its_measurements(tmp_path):
    histories = []
    for measures in (False, True):
        torch.manual_seed(1)
        model = Busy()
        subject = subject_from_module(model, WordTokenizer())
        optimizer = torch.optim.AdamW(model.parameters())
        folder = tmp_path / str(measures)
        with backlight.watch(model, optimizer, folder, activations=True):
            for step in range(3):
                ids = torch.randint(3, 99, (2, 8), generator=torch.Generator().manual_seed(step))
                loss = functional.cross_entropy(
                    model(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten()
                )
                if measures:
                    record(subject, some_batch(), [subject.sites["blocks.0"]])
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
        histories.append(read_history(folder))

    plain, measured = histories
    for name, values in plain.statistics.items():
        np.testing.assert_array_equal(measured.statistics[name], values, err_msg=name)
    np.testing.assert_array_equal(measured.global_norm, plain.global_norm)


def test_modes_of_the_caller_change_no_number_and_are_his_again():
    subject = a_subject("module")
    sites = [subject.sites["blocks.0"]]
    plain = record(subject, some_batch(), sites).gradients["blocks.0"]

    with torch.autocast("cpu", torch.bfloat16):
        under_autocast = record(subject, some_batch(), sites).gradients["blocks.0"]
        assert torch.is_autocast_enabled("cpu")
    with torch.inference_mode():
        inferred = record(subject, some_batch(), sites).gradients["blocks.0"]
        record_activations(subject, some_batch(), sites)
        assert torch.is_inference_mode_enabled()
    with torch.no_grad():
        without = record(subject, some_batch(), sites).gradients["blocks.0"]
        assert not torch.is_grad_enabled()

    for found in (under_autocast, inferred, without):
        assert torch.equal(found, plain)


def test_a_train_method_that_changes_weights_is_not_called():
    """Adapters merge their weights when they are asked to evaluate, and lose last bits by it."""

    class Merging(Busy):
        def train(self, mode=True):
            if hasattr(self, "out"):
                with torch.no_grad():
                    self.out.weight.mul_(1.1 if mode else 1 / 1.1)
            return super().train(mode)

    model = half_way(Merging())
    before = state_of(model)

    subject = subject_from_module(model, WordTokenizer())
    record(subject, some_batch(), [subject.sites["blocks.0"]])

    assert state_of(model) == before


def test_contexts_can_be_nested_and_the_outermost_gives_back():
    model = half_way(Busy())
    before = state_of(model)

    with borrowed(model):
        with borrowed(model):
            model(some_batch().input_ids)
        assert not any(parameter.requires_grad for parameter in model.parameters())
        assert not any(module.training for module in model.modules())

    assert state_of(model) == before


def test_a_model_that_writes_into_what_cannot_be_put_back_is_refused():
    class Remembering(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Embedding(9, 4), nn.Linear(4, 9))
            self.register_buffer("memory", torch.zeros(70_000))

        def forward(self, ids):
            self.memory += 1
            return super().forward(ids)

    with pytest.raises(
        ModelError, match=r"writes into memory of Remembering \(70000 numbers\), also in"
    ):
        subject_from_module(Remembering(), WordTokenizer())


class Rescaling(nn.Sequential):
    """Halves its weights for evaluation, once, and notes that it has (as RWKV does)."""

    def __init__(self):
        super().__init__(nn.Embedding(9, 4), nn.Linear(4, 9))
        self.halved = False

    def forward(self, ids):
        if not self.training and not self.halved:
            with torch.no_grad():
                self[1].weight.div_(2)
            self.halved = True
        return super().forward(ids)


def test_what_a_model_notes_about_its_weights_stays_true_of_them():
    model = Rescaling()
    weight = model[1].weight.detach().clone()

    with pytest.raises(ModelError, match=r"writes into its weights .* run it once before"):
        subject_from_module(model, WordTokenizer())

    assert model.halved == torch.equal(model[1].weight, weight / 2) is True
    subject_from_module(model.eval(), WordTokenizer())


def test_a_compiled_model_is_measured_as_it_is_written():
    """Compiled code does not call hooks that are registered later."""
    torch.manual_seed(0)
    plain, compiled = Small(), Small()
    compiled.load_state_dict(plain.state_dict())
    whole = torch.compile(compiled, backend="eager")
    whole(some_batch().input_ids)
    subject, beside = (subject_from_module(each, WordTokenizer()) for each in (whole, plain))
    found = record(subject, some_batch(), [subject.sites["_orig_mod.block"]])
    expected = record(beside, some_batch(), [beside.sites["block"]])

    torch.testing.assert_close(found.gradients["_orig_mod.block"], expected.gradients["block"])


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.block = nn.Embedding(VOCABULARY, 4), nn.Linear(4, 4)
        self.out = nn.Linear(4, VOCABULARY)

    def forward(self, ids):
        return self.out(torch.tanh(self.block(self.embedding(ids))))


def test_a_model_that_was_made_where_no_gradient_can_be_taken_is_refused():
    with torch.inference_mode():
        model = Small()

    with pytest.raises(
        ModelError, match=r"embedding\.weight of model was made in .*inference_mode"
    ):
        subject_from_module(model, WordTokenizer())


_SCRIPT = """
import random, sys
import torch
from torch import nn
import backlight

class Drawing(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.blocks = nn.Embedding(99, 8), nn.ModuleList([nn.Linear(8, 99)])

    def forward(self, ids):
        random.random()
        return self.blocks[0](self.embedding(ids))

class Letters:
    def __call__(self, text, *, truncation, max_length):
        return {"input_ids": [ord(letter) % 99 for letter in text][:max_length]}

    def decode(self, token_ids):
        return "".join(map(chr, token_ids))

def state():
    return random.getstate(), torch.get_rng_state().tolist()

model = Drawing()
before = state()
subject = backlight.subject_from_module(model, Letters())
assert state() == before, "load"
backlight.layers(subject=subject, dataset=sys.argv[1], max_length=9, site="blocks.*")
assert state() == before, "layers"
"""


def test_random_numbers_are_as_they_were_in_a_process_of_a_user(tmp_path):
    """Also those that libraries draw when they are imported, which happens on first use."""
    text = tmp_path / "text.txt"
    text.write_text("\n".join(lines(2)), encoding="utf-8")

    words = [sys.executable, "-c", _SCRIPT, str(text)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
