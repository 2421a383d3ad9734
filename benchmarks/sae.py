"""What dictionary features cost, against bare products, autograd and a pass for each layer.

    python benchmarks/sae.py [--part products moments replace] [--repeats 5] [--full] [--keep]

All contenders of a part run in one process, in turn, and ratios are medians over repeats: machines
are noisy, ratios of neighbours are not. Peak memory is taken in a process of its own for each
contender. Everything is float32.

- products: gradients of 2,048 tokens (16 sequences of 128, width 896) and 65,536 features, random
  numbers. `product`: the bare product `g @ W.T` into memory that is already there. `mean_abs`: our
  mean absolute gradients with their standard errors. `autograd`: reconstruction `f @ W`, the
  gradient of its product with `g` at the leaf `f`, and the mean of its absolute values.
- moments: mean, rms and standard error of all features over 500 sequences of 128 tokens, fed in
  batches of 8, as a share of `mean_abs` over the same tokens. That is measured on 2,048 tokens and
  scaled up, or measured over all of them with `--full`.
- replace: `backlight sae` with `--splice replace --stride 4` in SmolLM2, dictionaries of 2,304
  features that fire 32 at a time at the MLP outputs, batches of 4 passages of 128 tokens. `survey`
  is ours, all statistics on, without the trial of each dictionary on the first batch. `layer by
  layer`: for each layer and batch a whole pass to see the output, a whole pass with the
  reconstruction in its place, and autograd at the features. Both must find the same means.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from layers import README, hooked, plain_loss, read_passages, resident
from torch import Tensor

from backlight.data.batches import Batch, Passages
from backlight.dictionaries.activations import TopK
from backlight.dictionaries.collection import Collection
from backlight.dictionaries.dictionary import Card, Dictionary, LinearEncoder
from backlight.dictionaries.gradients import absolute_sums
from backlight.models.loading import load_subject
from backlight.models.sites import Site, parse_layers
from backlight.models.subject import Subject
from backlight.stats.base import wide
from backlight.stats.ratio import Ratios
from backlight.stats.second_moment import SecondMoment
from backlight.surveys.features.measure.feature_pass import feature_pass
from backlight.surveys.features.measure.placed import place_dictionaries
from backlight.surveys.features.measure.plan import FeaturePlan
from backlight.surveys.features.measure.survey import FeatureSurvey, survey_features
from backlight.surveys.features.options import SaeConfig

WIDTH, LENGTH, NUM_SEQUENCES = 896, 128, 16
NUM_FEATURES, NUM_ACTIVE, STRIDE, BATCH_SIZE = 2304, 32, 4, 4

BEGIN, END = "<!-- sae: begin -->", "<!-- sae: end -->"


def main() -> None:
    words = _arguments()
    if words.job:
        print(json.dumps(run_alone(words)))
        return
    parts = {"products": products, "moments": moments, "replace": replace}
    lines = [
        f"{torch.get_num_threads()} threads, torch {torch.__version__}.",
        "",
        "| contender | seconds | compared | found | wanted | peak memory |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for part in words.part:
        lines += parts[part](words)
    text = "\n".join(lines)
    print(text)
    if words.keep:
        before, _, rest = README.read_text().partition(BEGIN)
        README.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")


def products(words: argparse.Namespace) -> list[str]:
    """Time the bare product, our means and autograd, in turn."""
    contenders = {
        "product": product(words),
        "mean_abs": mean_abs(words),
        "autograd": autograd(words),
    }
    runs = in_turn(contenders, words.repeats)

    def speed(name: str) -> float:
        return median(run[name] / run["mean_abs"] for run in runs)

    return rows(
        words,
        runs,
        {
            "product": ("throughput of mean_abs / product", speed("product"), "at least 0.80"),
            "mean_abs": None,
            "autograd": ("autograd / mean_abs", speed("autograd"), "at least 1.9"),
        },
    )


def moments(words: argparse.Namespace) -> list[str]:
    """Time mean, rms and errors over a corpus, in turn with mean absolute gradients."""
    measured = words.sequences if words.full else NUM_SEQUENCES
    contenders = {"moments": moment(words), "mean_abs": mean_abs(words, measured)}
    runs = in_turn(contenders, words.repeats)
    scale = words.sequences / measured
    share = median(run["moments"] / (run["mean_abs"] * scale) for run in runs)
    compared = (
        f"moments / mean_abs, {words.sequences * LENGTH} tokens "
        f"(mean_abs measured on {measured * LENGTH})"
    )
    return rows(words, runs, {"moments": (compared, share, "at most 0.06")})


def replace(words: argparse.Namespace) -> list[str]:
    """Time our survey and the way of one layer at a time, step by step in turn."""
    subject, passages, layers = load_replace(words)
    found: dict[str, dict[int, Any]] = {"survey": {}, "layer by layer": {}}
    jobs = {
        "survey": survey(subject, passages, layers, found["survey"]),
        "layer by layer": layer_by_layer(subject, passages, layers, found["layer by layer"]),
    }
    for job in jobs.values():
        next(job)  # up to what is timed
    seconds = dict.fromkeys(jobs, 0.0)
    while jobs:
        for name in list(jobs):
            start = time.perf_counter()
            finished = next(jobs[name], "finished") == "finished"
            seconds[name] += time.perf_counter() - start
            if finished:
                del jobs[name]
    for layer in layers:
        # Its loss is the mean of a batch, ours the sum of its sequences' means.
        ours, theirs = found["survey"][layer], BATCH_SIZE * found["layer by layer"][layer]
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-3 * theirs.max())
    compared = (
        f"survey / layer by layer, {len(layers)} layers, {len(passages.tokens) * LENGTH} tokens"
    )
    ratio = seconds["survey"] / seconds["layer by layer"]
    return rows(
        words, [seconds], {"survey": None, "layer by layer": (compared, ratio, "at most 0.6")}
    )


def product(words: argparse.Namespace) -> Callable[[], None]:
    """The bare product, and nothing else."""
    gradients, decoder = random_numbers(words)
    held = torch.empty(len(gradients), len(decoder))

    def run() -> None:
        torch.mm(gradients, decoder.T, out=held)

    return run


def mean_abs(words: argparse.Namespace, num_sequences: int = NUM_SEQUENCES) -> Callable[[], None]:
    """What the survey does with the gradients of a chunk."""
    gradients, decoder = random_numbers(words, num_sequences)

    def run() -> None:
        absolute = Ratios(len(decoder), shared_below=True)
        for sums, group in absolute_sums(gradients, [LENGTH] * num_sequences, decoder):
            absolute.update(wide(sums), torch.tensor(group)[:, None])
        absolute.result()

    return run


def autograd(words: argparse.Namespace) -> Callable[[], None]:
    """Features as leaves: one product forward, one backward, and the mean of what comes back."""
    gradients, decoder = random_numbers(words)
    features = torch.rand(len(gradients), len(decoder), requires_grad=True)

    def run() -> None:
        (gradient,) = torch.autograd.grad(features @ decoder, features, gradients)
        gradient.abs().mean(dim=0)

    return run


def moment(words: argparse.Namespace) -> Callable[[], None]:
    """Mean, rms and errors of a corpus: all of its batches, then all features."""
    gradients, decoder = random_numbers(words)
    batch = gradients.view(NUM_SEQUENCES, LENGTH, WIDTH)[:8]
    valid = torch.ones(batch.shape[:2], dtype=torch.bool)

    def run() -> None:
        seen = SecondMoment(WIDTH)
        for start in range(0, words.sequences, 8):
            size = min(8, words.sequences - start)
            seen.update(batch[:size], valid=valid[:size], passages=range(start, start + size))
        seen.along(decoder)

    return run


def random_numbers(
    words: argparse.Namespace, num_sequences: int = NUM_SEQUENCES
) -> tuple[Tensor, Tensor]:
    """Draw g of some sequences and W."""
    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(num_sequences * LENGTH, WIDTH, generator=generator)
    return gradients, torch.randn(words.features, WIDTH, generator=generator)


def load_replace(words: argparse.Namespace) -> tuple[Subject, Passages, tuple[int, ...]]:
    subject = load_subject("smollm2", device="cpu")
    subject.model.requires_grad_(requires_grad=False)  # for the bare floors
    found = read_passages(subject, "shakespeare", 2000).tokens
    whole = [tokens for tokens in found if len(tokens) == LENGTH][: BATCH_SIZE * words.batches]
    assert len(whole) == BATCH_SIZE * words.batches, "the corpus has too few long passages"
    return subject, Passages(tokens=whole), parse_layers(words.layers, subject.num_layers)


def survey(
    subject: Subject, passages: Passages, layers: Sequence[int], found: dict[int, Any]
) -> Iterator[None]:
    """All that `backlight sae` does between the check of the dictionaries and its tables."""
    held = {layer: dictionary_of(subject, layer) for layer in layers}
    plan = FeaturePlan(splice="replace", stride=STRIDE)
    batches = batches_of(passages)
    options = SaeConfig(allow_poor_reconstruction=True)
    first = Batch.of(passages, batches[0])
    placed = place_dictionaries(options, Collection.of(held), subject, first)
    yield
    state = FeatureSurvey(plan, placed)
    for _ in survey_features(
        feature_pass(subject, plan),
        passages,
        batches,
        state,
        dictionaries=placed,
        chunk_bytes=10**9,
    ):
        yield
    for layer, features in state.layers.items():
        found[layer] = features.statistics(held[layer].rows)["mean_abs"]


def layer_by_layer(
    subject: Subject, passages: Passages, layers: Sequence[int], found: dict[int, Any]
) -> Iterator[None]:
    """Run two whole passes and autograd for each layer and batch."""
    held = {layer: dictionary_of(subject, layer) for layer in layers}
    yield
    for layer in layers:
        site, sizes, count = subject.sites[f"layers.{layer}.mlp.out"], torch.zeros(NUM_FEATURES), 0
        for members in batches_of(passages):
            gradient = two_passes(subject, site, held[layer], Batch.of(passages, members))
            sizes += gradient.abs().sum(dim=0)
            count += len(gradient)
            yield
        found[layer] = (sizes / count).numpy()


def two_passes(subject: Subject, site: Site, dictionary: Dictionary, batch: Batch) -> Tensor:
    """See what the dictionary reads, then put its reconstruction there; dL/df, token by token."""
    seen: list[Tensor] = []

    def see(module: Any, inputs: Any, output: Tensor) -> None:
        seen.append(output)

    with torch.no_grad(), hooked(subject, [site], [see]):
        subject.model(input_ids=batch.input_ids, use_cache=False)
    kept = seen[0][:, ::STRIDE]
    features = dictionary.encoder(kept.flatten(0, 1)).requires_grad_()

    def put(module: Any, inputs: Any, output: Tensor) -> Tensor:
        spliced = output.clone()
        spliced[:, ::STRIDE] = (features @ dictionary.rows + dictionary.bias).view(kept.shape)
        return spliced

    with hooked(subject, [site], [put]):
        loss = plain_loss(subject, batch.input_ids, batch.valid)
    return torch.autograd.grad(loss, features)[0]


def batches_of(passages: Passages) -> list[tuple[int, ...]]:
    members = range(len(passages.tokens))
    return [tuple(members[start : start + BATCH_SIZE]) for start in members[::BATCH_SIZE]]


def dictionary_of(subject: Subject, layer: int) -> Dictionary:
    """Make a random dictionary that reads and writes a layer's MLP output."""
    width = subject.sites[f"layers.{layer}.mlp.out"].width
    assert width is not None
    generator = torch.Generator().manual_seed(layer)
    rows = torch.nn.functional.normalize(
        torch.randn(NUM_FEATURES, width, generator=generator), dim=1
    )
    return Dictionary(
        encoder=LinearEncoder(
            rows=rows,
            bias=torch.zeros(NUM_FEATURES),
            input_bias=None,
            activation=TopK(k=NUM_ACTIVE),
        ),
        rows=rows,
        bias=torch.zeros(width),
        card=Card(
            format="random",
            path="memory",
            architecture="topk",
            reads=f"layers.{layer}.mlp.out",
            layer=layer,
        ),
    )


def in_turn(contenders: Mapping[str, Callable[[], None]], repeats: int) -> list[dict[str, float]]:
    """Time contenders in turn, another one first in each round; the first round only warms up."""
    runs: list[dict[str, float]] = []
    names = list(contenders)
    for repeat in range(repeats + 1):
        first = repeat % len(names)
        seconds: dict[str, float] = {}
        for name in names[first:] + names[:first]:
            start = time.perf_counter()
            contenders[name]()
            seconds[name] = time.perf_counter() - start
        if repeat:
            runs.append(seconds)
    return runs


def rows(
    words: argparse.Namespace,
    runs: Sequence[Mapping[str, float]],
    told: Mapping[str, tuple[str, float, str] | None],
) -> list[str]:
    """Write a line for each contender, with its peak memory from a process of its own."""
    lines: list[str] = []
    for name, comparison in told.items():
        what, ratio, wanted = comparison or ("", None, "")
        found = "" if ratio is None else f"{ratio:.3f}"
        peak = alone(name, words)
        lines.append(
            f"| {name} | {median(run[name] for run in runs):.2f} | {what} | {found} | {wanted} | "
            f"{peak['peak']:.0f} MB, {peak['above']:.0f} MB above its inputs |"
        )
    return lines


def run_alone(words: argparse.Namespace) -> dict[str, float]:
    """Run one contender and report the peak of its memory, in megabytes."""
    if words.job in ON_A_MODEL:
        steps = ON_A_MODEL[words.job](*load_replace(words), {})
        next(steps)
        job: Callable[[], Any] = partial(list, steps)
    else:
        job = ON_NUMBERS[words.job](words)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of loading
    before = resident("VmRSS")
    job()
    return {"peak": resident("VmHWM"), "above": resident("VmHWM") - before}


def alone(job: str, words: argparse.Namespace) -> dict[str, float]:
    """Run one contender in a process of its own, on one batch of the model's."""
    command = [sys.executable, __file__, "--job", job, "--layers", words.layers]
    command += ["--features", str(words.features), "--sequences", str(words.sequences)]
    command += ["--batches", "1"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output.splitlines()[-1])


ON_NUMBERS = {"product": product, "mean_abs": mean_abs, "autograd": autograd, "moments": moment}
ON_A_MODEL = {"survey": survey, "layer by layer": layer_by_layer}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = ["products", "moments", "replace"]
    parser.add_argument("--part", nargs="+", choices=parts, default=parts)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--features", type=int, default=65_536)
    parser.add_argument("--sequences", type=int, default=500, help="of the moments' corpus")
    parser.add_argument("--full", action="store_true", help="measure mean_abs on all of it")
    parser.add_argument("--layers", default="all", help="of SmolLM2; the limit is for all")
    parser.add_argument("--batches", type=int, default=2, help="of SmolLM2's corpus")
    parser.add_argument("--keep", action="store_true", help="write the result into README.md")
    contenders = [*ON_NUMBERS, *ON_A_MODEL]
    parser.add_argument("--job", choices=contenders, help="run one contender alone")
    return parser.parse_args()


if __name__ == "__main__":
    main()
