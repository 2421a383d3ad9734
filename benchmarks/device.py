"""What an accelerator gives: the same numbers as the CPU, how fast, in how much memory.

    python benchmarks/device.py [--device auto] [--minutes 8] [--keep]
    python benchmarks/device.py --device cpu --tiny    # tries this script itself, on any machine

Needs nothing from the network: weights and tokens are random, made where they are used. Without an
accelerator it says so and ends.

- agreement: every survey measures the same tiny float32 model and text on the CPU and on the
  device; of each array that it keeps (sums, moments, histograms, rows), the largest difference is
  divided by the largest number. It fails if one is above 1e-3: some products cancel to almost
  nothing before the last norm, and are off by 1e-4 in float32 anywhere.
- survey: `backlight layers` from tokens to tables, all statistics, every `mlp.out`. floor: on the
  same batches one forward pass and `torch.autograd.grad` of its loss at these sites, parameters
  frozen, nothing else. In turn, two batches or 8 passages each; ratios are medians over repeats.
- models: the configurations of Qwen2.5-0.5B and Qwen2.5-7B, bfloat16, passages of 128 tokens,
  batches of 1, 4, 16, ... until the memory or the time ends (each model has half of it), and what
  `--batch_size auto` chooses.
- memory: the most that tensors took on the device, with the model's weights, of a pass of its own.
"""

import argparse
import copy
import gc
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch
from layers import README, floor, survey
from numpy.typing import NDArray
from sae import in_turn
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from torch.nn.functional import normalize
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from backlight.data.batches import Passages
from backlight.dictionaries.activations import Relu
from backlight.dictionaries.dictionary import Card, Dictionary, LinearEncoder
from backlight.models.devices import choose_device
from backlight.models.lending import borrowed
from backlight.models.loading import subject_from_transformers
from backlight.models.sites import resolve_sites
from backlight.models.subject import Subject
from backlight.surveys import SURVEYS
from backlight.surveys.driver.clock import Clock
from backlight.surveys.driver.material.batch_size import _speeds, choose_size
from backlight.surveys.driver.material.opening import Opening, settle

MAX_LENGTH, TOLERANCE = 128, 1e-3
BATCH_SIZES = tuple(4**power for power in range(8))
BEGIN, END = "<!-- device: begin -->", "<!-- device: end -->"

Arrays = Mapping[str, NDArray[Any]]

TINY = {
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
CONFIGURATIONS = {
    "0.5 billion": {
        "vocab_size": 151_936,
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "tie_word_embeddings": True,
    },
    "7 billion": {
        "vocab_size": 152_064,
        "hidden_size": 3584,
        "intermediate_size": 18_944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "tie_word_embeddings": False,
    },
}
TEXTS = [
    f"On day {day} the light falls through every layer of the model, and what comes back is a "
    f"gradient that says which of {day * day} neurons would have made the next word less odd."
    for day in range(3, 11)
]
PROMPTS = {
    "template": "The capital of {country} is",
    "answer": " {capital}",
    "fields": {"country": ["France", "Peru", "Japan"], "capital": ["Paris", "Lima", "Tokyo"]},
}


def main() -> None:
    words = _arguments()
    device = choose_device(words.device)
    if device.type == "cpu" and not words.tiny:
        print(f"No accelerator is here (torch {torch.__version__} sees none): nothing to measure.")
        return
    logging.getLogger("backlight").setLevel(logging.ERROR)  # random dictionaries explain nothing
    begun = time.monotonic()
    found = agreement(device)
    lines = [told(device), "", f"Largest difference from the CPU: {in_words(found)}.", "", *HEAD]
    print("\n".join(lines), flush=True)
    if not max(found.values()) <= TOLERANCE:
        raise SystemExit(f"The device and the CPU differ by more than {TOLERANCE:.0e}.")
    configurations = {"tiny": TINY} if words.tiny else CONFIGURATIONS
    for place, (name, sizes) in enumerate(configurations.items(), start=1):
        deadline = begun + 60 * words.minutes * place / len(configurations)
        for line in rows(name, sizes, device, deadline, words):
            lines.append(line)
            print(line, flush=True)
    if words.keep:
        keep("\n".join(lines))


HEAD = (
    "| model | batch | survey, tokens a second | by that of batch 4 | survey / floor | memory of "
    "the survey | of the floor |",
    "| --- | --- | --- | --- | --- | --- | --- |",
)


def told(device: torch.device) -> str:
    """Name the device."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return f"{name}, torch {torch.__version__}."


def in_words(found: Mapping[str, float]) -> str:
    """Write the differences of all surveys."""
    parts = [f"{name} {largest:.1e}" for name, largest in found.items()]
    return f"{', '.join(parts)} (wanted: at most {TOLERANCE:.0e})"


def agreement(device: torch.device) -> dict[str, float]:
    """Measure the same with every survey on the CPU and on a device; the largest differences."""
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(Qwen2Config(**TINY))
    here, there = (
        subject_from_transformers(each, byte_tokenizer(), name="tiny")
        for each in (model, copy.deepcopy(model).to(device))
    )
    return {
        name: difference(kept(name, here), kept(name, there))
        for name in ("layers", "sae", "tokens", "flow")
    }


def kept(name: str, subject: Subject) -> Arrays:
    """Measure everything with a survey; return what it keeps."""
    kind = SURVEYS[name]
    words: dict[str, Any] = {"quiet": True}
    words |= PROMPTS if name == "tokens" else {"dataset": TEXTS, "max_length": 64}
    given: dict[str, Any] = {}
    if name == "sae":
        words["allow_poor_reconstruction"] = True
        like = next(subject.model.parameters())
        given["dictionaries"] = {layer: dictionary(layer, like) for layer in range(3)}
    options = settle(kind.options(**words), subject)
    measure = kind.door("measure")
    sharding = measure.prepare(options, Opening(options, subject, Clock()), **given).sharding
    state = sharding.fresh()
    with borrowed(subject.model):
        for _ in sharding.steps(sharding.batches, state):
            pass
    return state.state()


def difference(here: Arrays, there: Arrays) -> float:
    """Divide the largest difference of each array by its largest number; the largest of them.

    Whole numbers are left out: a token next to the edge of a bin, or as large as another, may count
    here or there. NaN, where nothing was to be measured, must be at the same places.
    """
    if here.keys() != there.keys():
        raise SystemExit(f"Only one of both has {sorted(here.keys() ^ there.keys())}.")
    found = [0.0]
    for name, own in here.items():
        other = there[name]
        if own.dtype.kind != "f" or own.size == 0:
            continue
        if own.shape != other.shape or (np.isfinite(own) != np.isfinite(other)).any():
            raise SystemExit(f"{name} has numbers at other places.")
        size, apart = np.nan_to_num(np.abs(own)).max(), np.nan_to_num(np.abs(own - other)).max()
        found.append(float(apart / size) if size else float(apart))
    return max(found)


def rows(
    name: str,
    sizes: Mapping[str, Any],
    device: torch.device,
    deadline: float,
    words: argparse.Namespace,
) -> Iterator[str]:
    """Measure larger and larger batches of a model until its memory or time ends."""
    gc.collect()  # the memory of the model before is not to be counted
    subject = fitting(lambda: random_subject(name, sizes, device))
    if subject is None:
        yield f"| {name} | the model alone does not fit | | | | | |"
        return
    at_four, spent = None, 0.0
    for size in BATCH_SIZES[:2] if words.tiny else BATCH_SIZES:
        begun = time.monotonic()
        if begun + 4 * spent > deadline:
            yield f"| {name} | {size} was not tried: no time | | | | | |"
            return
        measured = fitting(lambda size=size: costs(subject, size, words.repeats))
        if measured is None:
            yield f"| {name} | {size} does not fit | | | | | |"
            return
        at_four = measured[0] if size == 4 else at_four
        yield row(name, str(size), measured, at_four)
        spent = time.monotonic() - begun
        if size == 4:
            chosen = auto_size(subject, largest=4 if words.tiny else 256)
            measured = fitting(lambda chosen=chosen: costs(subject, chosen, words.repeats))
            if measured is None:
                yield f"| {name} | auto: {chosen} does not fit | | | | | |"
            else:
                yield row(name, f"auto: {chosen}", measured, at_four)


def row(name: str, batch: str, measured: tuple[float, str, str, str], at_four: float | None) -> str:
    """Write a line of the table."""
    speed, *rest = measured
    gain = "" if at_four is None else f"{speed / at_four:.2f}"
    return f"| {name} | {batch} | {speed:,.0f} | {gain} | {' | '.join(rest)} |"


def auto_size(subject: Subject, largest: int) -> int:
    """Choose a batch size as `--batch_size auto` does, without what earlier runs remember."""
    sites = resolve_sites("mlp.out", subject.sites)
    sizes = [2**power for power in range(largest.bit_length())]
    return choose_size(_speeds(subject, random_passages(largest), sites, sizes))[0]


def costs(subject: Subject, batch_size: int, repeats: int) -> tuple[float, str, str, str]:
    """Measure tokens a second, survey / floor, and the memory of both; the last three in words."""
    sites = resolve_sites("mlp.out", subject.sites)
    passages = random_passages(max(8, 2 * batch_size))
    members = range(len(passages.tokens))
    batches = [tuple(members[at : at + batch_size]) for at in members[::batch_size]]

    def go(contender: Callable[..., Iterator[None]], some: Sequence[Any] = batches) -> None:
        for _ in contender(subject, sites, passages, some):
            pass
        if subject.device.type != "cpu":
            torch.accelerator.synchronize(subject.device)

    jobs = {"survey": partial(go, survey), "floor": partial(go, floor)}
    memory = peak(partial(jobs["survey"], batches[:1]), subject.device)
    of_floor = fitting(lambda: peak(partial(jobs["floor"], batches[:1]), subject.device))
    if of_floor is None:  # it holds the logits of all tokens
        del jobs["floor"]
    runs = in_turn(jobs, repeats)
    speed = passages.num_tokens / median(run["survey"] for run in runs)
    if of_floor is None:
        return speed, "", memory, "does not fit"
    return speed, f"{median(run['survey'] / run['floor'] for run in runs):.3f}", memory, of_floor


def peak(work: Callable[[], None], device: torch.device) -> str:
    """Do something; write the most bytes that tensors took, nothing where nobody counts them."""
    counts = device.type in ("cuda", "xpu")
    if counts:
        torch.accelerator.reset_peak_memory_stats(device)
    work()
    return f"{torch.accelerator.max_memory_allocated(device) / 1e9:.2f} GB" if counts else ""


def fitting(work: Callable[[], Any]) -> Any:
    """Do something; None if the memory of the device does not suffice, which is then free again."""
    try:
        return work()
    except torch.OutOfMemoryError:
        pass  # what holds the memory is freed with the error, so only after this block
    gc.collect()
    if torch.accelerator.is_available():
        torch.accelerator.empty_cache()
    return None


def random_subject(name: str, sizes: Mapping[str, Any], device: torch.device) -> Subject:
    """Make a model of random weights, in bfloat16, where it is used."""
    torch.manual_seed(0)
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            model = Qwen2ForCausalLM(Qwen2Config(**sizes))
    finally:
        torch.set_default_dtype(usual)
    model.requires_grad_(requires_grad=False)  # for the bare floor
    return subject_from_transformers(model.eval(), byte_tokenizer(), name=name)


def random_passages(number: int) -> Passages:
    """Draw passages of the full length."""
    ids = np.random.default_rng(0).integers(0, 256, (number, MAX_LENGTH))
    return Passages(tokens=list(ids))


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Make a tokenizer that has a token for every byte."""
    signs = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE({sign: number for number, sign in enumerate(signs)}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=inner)


def dictionary(layer: int, like: Tensor) -> Dictionary:
    """Make a random dictionary at an MLP output of the tiny model, on its device."""
    width, generator = TINY["hidden_size"], torch.Generator().manual_seed(layer)
    matrix = normalize(torch.randn(4 * width, width, generator=generator), dim=1).to(like)
    zeros = matrix.new_zeros(4 * width)
    encoder = LinearEncoder(rows=matrix, bias=zeros, input_bias=None, activation=Relu())
    reads = f"layers.{layer}.mlp.out"
    card = Card(format="random", path="memory", architecture="relu", reads=reads, layer=layer)
    return Dictionary(encoder=encoder, rows=matrix, bias=zeros[:width], card=card)


def keep(text: str) -> None:
    """Put the result into the README beside this file."""
    before, _, rest = README.read_text().partition(BEGIN)
    README.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto", help="auto, cuda, cuda:N, mps; cpu with --tiny")
    parser.add_argument("--minutes", type=float, default=8, help="after which no batch is begun")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tiny", action="store_true", help="a tiny model, batches of 1 and 4")
    parser.add_argument("--keep", action="store_true", help="write the result into README.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
