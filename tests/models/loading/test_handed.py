"""What people hand over as a model: measured rightly, or refused in a sentence."""

import pytest
import torch
from torch import nn
from torch.distributed import fsdp
from torch.nn.parallel import DataParallel, DistributedDataParallel
from transformers import (
    CONFIG_MAPPING,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertConfig,
    BertModel,
    T5Config,
    T5ForConditionalGeneration,
)

from backlight.capture.record import record
from backlight.data.batches import Batch, Passages
from backlight.errors import ModelError
from backlight.models.loading import subject_from_transformers
from backlight.models.loading.handed import unwrapped
from backlight.models.sites import resolve_sites
from backlight.models.subject import check_tokenizer
from zoo.models import CONFIGS, OUTSIDE_THE_TABLE, tiny_model
from zoo.tokenizers import WordTokenizer

pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")
_IDS = torch.tensor([[5, 9, 3, 40, 7, 21, 8]])
_PATHS = ("model.layers.0.mlp", "model.layers.1.self_attn", "model.layers.2")


def _subject(model, **options):
    return subject_from_transformers(model, WordTokenizer(), **options)


def _measured(subject):
    batch = Batch.of(Passages(tokens=[_IDS[0].numpy()]), [0])
    sites = [resolve_sites(path, subject.sites)[0] for path in _PATHS]
    tape = record(subject, batch, sites)
    return [tape.gradients[site.name][0] for site in sites], tape.nats


def _by_autograd(whole, inner):
    """Gradients at the same modules through the wrapper, by plain hooks."""
    seen, handles = {}, []
    for path in _PATHS:

        def hook(module, inputs, output, path=path):
            tensor = output[0] if isinstance(output, tuple) else output
            tensor.retain_grad()
            seen[path] = tensor

        handles.append(inner.get_submodule(path).register_forward_hook(hook))
    whole.requires_grad_(True)
    with torch.enable_grad():
        logits = whole(input_ids=_IDS).logits
        # Transformers' own loss would round the logits to float32.
        loss = nn.functional.cross_entropy(logits[0, :-1], _IDS[0, 1:])
        loss.backward()
    for handle in handles:
        handle.remove()
    return [seen[path].grad[0] for path in _PATHS], float(loss.detach())


def _agree(handed, whole=None):
    """Check gradients against those of the whole, by default what was handed over."""
    subject = _subject(handed)
    gradients, nats = _measured(subject)
    expected, loss = _by_autograd(whole or handed, unwrapped(handed))
    for found, right in zip(gradients, expected, strict=True):
        torch.testing.assert_close(found, right, rtol=1e-6, atol=1e-12)
    assert nats == pytest.approx(loss * (_IDS.shape[1] - 1), rel=1e-6)
    return subject


def _with_lora(**options):
    peft = pytest.importorskip("peft")
    settings = {"r": 4, "task_type": "CAUSAL_LM", "init_lora_weights": False, **options}
    model = peft.get_peft_model(tiny_model("llama", torch.float64), peft.LoraConfig(**settings))
    return model.to(torch.float64).eval()


@pytest.mark.parametrize(
    "options",
    [
        {"target_modules": ["q_proj", "v_proj"]},
        {"target_modules": ["lm_head"]},
        {"target_modules": "all-linear"},
        {"target_modules": ["down_proj"], "use_dora": True},
        {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
        {"target_modules": ["embed_tokens", "o_proj"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["input_layernorm"]},
    ],
    ids=str,
)
def test_a_lora_acts_as_it_does_in_the_wrapped_model(options):
    model = _with_lora(**options)

    subject = _agree(model)

    assert subject.facts["adapter"] == "default (LORA)"


def test_a_base_model_with_a_lora_in_its_head_is_measured_with_the_lora():
    model = _with_lora(target_modules=["lm_head"]).get_base_model()

    assert _agree(model).head is None


def test_a_plain_head_stays_a_matrix_beside_a_lora():
    assert _subject(_with_lora(target_modules=["q_proj"])).head is not None


def test_a_learned_prompt_is_refused():
    peft = pytest.importorskip("peft")
    config = peft.PromptTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM")
    model = peft.get_peft_model(tiny_model("llama"), config)

    with pytest.raises(ModelError, match="works outside of the model's modules"):
        _subject(model)


def test_a_mixed_adapter_is_unwrapped():
    peft = pytest.importorskip("peft")
    lora = peft.LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False)

    _agree(peft.PeftMixedModel(tiny_model("llama", torch.float64), lora))


def test_wrappers_may_be_nested():
    model = _with_lora(target_modules=["q_proj", "lm_head"])

    _agree(DataParallel(torch.compile(model, backend="eager")), model)


def test_data_parallel_is_unwrapped():
    _agree(DataParallel(tiny_model("llama", torch.float64)))


def test_a_compiled_model_is_unwrapped():
    model = tiny_model("llama", torch.float64)

    _agree(torch.compile(model, backend="eager"), model)


@pytest.fixture
def one_process(tmp_path):
    """A group of processes with one member, as torchrun makes it."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1
    )
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.filterwarnings("ignore")
def test_distributed_data_parallel_is_unwrapped(one_process):
    _agree(DistributedDataParallel(tiny_model("llama", torch.float64)))


@pytest.mark.filterwarnings("ignore")
def test_weights_spread_over_processes_are_refused(one_process):
    with pytest.raises(ModelError, match=r"spread over processes \(FSDP\)"):
        _subject(fsdp.fully_shard(tiny_model("llama")))


@pytest.mark.filterwarnings("ignore")
def test_a_wrapper_that_spreads_weights_over_processes_is_refused(one_process):
    try:
        model = fsdp.FullyShardedDataParallel(tiny_model("llama"), device_id=torch.device("cpu"))
    except (RuntimeError, ValueError) as error:
        pytest.skip(f"this torch shards on accelerators only: {error}")
    with pytest.raises(ModelError, match=r"FSDP|holds one"):
        _subject(model)


def _head_with_hook():
    model = tiny_model("llama", torch.float64)
    model.lm_head.register_forward_hook(lambda module, inputs, output: output * 2)
    return model


def _parametrized_head():
    model = tiny_model("llama", torch.float64)
    return model, nn.utils.parametrizations.weight_norm(model.lm_head)


class _LowRank(nn.Module):
    """A linear map with an adapter beside it, as peft has it."""

    def __init__(self, base):
        super().__init__()
        self.base_layer = base
        self.lora_A = nn.Linear(base.in_features, 2, bias=False)
        self.lora_B = nn.Linear(2, base.out_features, bias=False)

    def forward(self, x):
        return self.base_layer(x) + self.lora_B(self.lora_A(x))


def _adapted_head():
    model = tiny_model("llama", torch.float64)
    model.lm_head = _LowRank(model.lm_head).double()
    return model


@pytest.mark.parametrize("make", [_head_with_hook, lambda: _parametrized_head()[0], _adapted_head])
def test_a_head_that_is_more_than_a_matrix_is_the_model_s_own(make):
    assert _agree(make()).head is None


class _ValueHead(nn.Module):
    """A language model with a head for values, as it is wrapped for reinforcement learning."""

    def __init__(self):
        super().__init__()
        self.pretrained_model = tiny_model("llama")
        self.v_head = nn.Linear(32, 1)


def _config(name):
    model_type, options = CONFIGS[name]
    return CONFIG_MAPPING[model_type](**options)


def _without_head(name="llama"):
    return AutoModel.from_config(_config(name))


def _quantised():
    return torch.ao.quantization.quantize_dynamic(tiny_model("llama"), {nn.Linear})


def _on_meta():
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(_config("llama"))


def _partly_on_meta():
    model = tiny_model("llama")
    model.model.layers[1].to("meta")
    return model


def _without_layers():
    config = _config("llama")
    config.num_hidden_layers = 0
    return AutoModelForCausalLM.from_config(config)


def _with_layers_taken_out():
    model = tiny_model("llama")
    model.model.layers = model.model.layers[:2]
    return model


def _compiled_in_place():
    model = tiny_model("llama")
    model.model.layers[1].compile(backend="eager")
    return model


def _made_in_inference_mode():
    with torch.inference_mode():
        return tiny_model("llama")


def _classifier(kind, name):
    return kind.from_config(_config(name))


_BERT = BertConfig(
    hidden_size=32,
    num_hidden_layers=1,
    num_attention_heads=4,
    intermediate_size=64,
    vocab_size=99,
)
_T5 = T5Config(d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, vocab_size=99)


@pytest.mark.filterwarnings("ignore:.*deprecated.*")
@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (_without_head, r"no language-model head: LlamaModel .* AutoModelForCausalLM"),
        (lambda: _without_head("gpt2"), r"no language-model head: GPT2Model"),
        (lambda: _without_head("opt"), r"no language-model head: OPTModel"),
        (lambda: _without_head("bloom"), r"no language-model head: BloomModel"),
        (
            lambda: _classifier(AutoModelForSequenceClassification, "llama"),
            r"no language-model head: LlamaForSequenceClassification",
        ),
        (
            lambda: _classifier(AutoModelForTokenClassification, "gpt2"),
            r"no language-model head: GPT2ForTokenClassification",
        ),
        (
            lambda: AutoModelForSequenceClassification.from_config(_BERT),
            r"no language-model head: BertForSequenceClassification gives \[2, 2\] for \[2, 11\]",
        ),
        (
            lambda: AutoModelForTokenClassification.from_config(_BERT),
            r"no language-model head: BertForTokenClassification gives \[2, 11, 2\]",
        ),
        (
            lambda: AutoModelForTokenClassification.from_config(OUTSIDE_THE_TABLE),
            r"no language-model head: PersimmonForTokenClassification gives \[2, 11, 2\]",
        ),
        (lambda: BertModel(_BERT), r"BertModel gives no logits"),
        (lambda: T5ForConditionalGeneration(_T5), r"an encoder and a decoder \(T5For"),
        (_ValueHead, r"holds one: hand over its \.pretrained_model"),
        (
            lambda: nn.Linear(2, 2),
            r"no model of Transformers\. Give it to backlight\.subject_from_module",
        ),
        (_quantised, r"is quantised \(.*q_proj is a torch\.ao\.nn.*before it is quantised"),
        (_on_meta, r"not in memory \(it is on the meta device"),
        (_partly_on_meta, r"model\.layers\.1\..* not in memory"),
        (_without_layers, r"has no layers"),
        (_with_layers_taken_out, r"says that there are 3 layers, but 'model\.layers' holds fewer"),
        (_compiled_in_place, r"model\.layers\.1 of .* was compiled in place"),
        (_made_in_inference_mode, r"was made in torch\.inference_mode\(\)"),
    ],
)
def test_what_is_no_causal_language_model_is_one_sentence(make, sentence):
    with pytest.raises(ModelError, match=sentence):
        _subject(make())


@pytest.mark.parametrize("thing", [None, "gpt2", b"", {"a": 1}, len])
def test_what_is_no_tokenizer_is_one_sentence(thing):
    with pytest.raises(ModelError, match=r"A tokenizer is needed, .* not a"):
        check_tokenizer(thing)


@pytest.mark.parametrize("thing", ["gpt2", None, {"model": 3}, nn.Linear])
def test_what_is_no_model_at_all_is_one_sentence(thing):
    with pytest.raises(
        ModelError, match=r"A model of Transformers is needed, not a .*load_subject"
    ):
        unwrapped(thing)


@pytest.mark.parametrize(
    "context",
    [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu", torch.bfloat16)],
    ids=["no_grad", "inference_mode", "autocast"],
)
def test_a_context_around_the_call_changes_no_number(context):
    model = tiny_model("llama", torch.float64)
    subject = _subject(model)
    expected, _ = _measured(subject)

    with context():
        found, _ = _measured(subject)
        anew, _ = _measured(_subject(model))

    assert all(map(torch.equal, found, expected))
    assert all(map(torch.equal, anew, expected))


def test_a_model_whose_parts_are_undressed_computes_what_the_whole_does():
    model = tiny_model("llama")

    assert unwrapped(DataParallel(DataParallel(model))) is model
