"""What the survey of `backlight layers` costs, against the bare floor and what people do.

    python benchmarks/layers.py [--dataset shakespeare] [--repeats 5] [--keep]

All contenders run in one process on the same 64 passages of SmolLM2 (at most 128 tokens, batches of
4), in turn after every batch, and ratios are medians over repeats: machines are noisy, ratios of
neighbours are not. Peak memory is taken in a process of its own for each contender.

- survey: `backlight layers`, from tokens to arrays and tables, all statistics on.
- floor: on the same bucketed batches, a plain Transformers forward and `torch.autograd.grad` of its
  loss at the 30 MLP outputs, parameters frozen, nothing else.
- backward: hooks and `loss.backward()` with parameter gradients, on batches padded to 128 tokens,
  as throw-away scripts do it.
- layer by layer: a forward and a backward for each layer, on batches padded to 128 tokens; on one
  batch only, since it takes minutes.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from backlight.data.batches import Batch, Passages, bucket, tokenize
from backlight.data.corpora import RowReader
from backlight.models.loading import load_subject
from backlight.models.sites import Site, resolve_sites
from backlight.models.subject import Subject
from backlight.stats.aggregate import aggregate
from backlight.surveys.layers.measure.profile import Profile, profile, recorder_of
from backlight.surveys.layers.tables import (
    dimension_table,
    histogram_table,
    layer_table,
    site_results,
    top_token_table,
)

MAX_LENGTH, BATCH_SIZE, NUM_PASSAGES = 128, 4, 64

README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- layers: begin -->", "<!-- layers: end -->"

Batches = Sequence[tuple[int, ...]]


def main() -> None:
    words = _arguments()
    subject = load_subject("smollm2", device="cpu")
    subject.model.requires_grad_(requires_grad=False)  # for the bare floors
    sites = resolve_sites("mlp.out", subject.sites)
    passages = read_passages(subject, words.dataset, words.passages)
    if words.job:
        print(json.dumps(run_alone(words.job, subject, sites, passages)))
        return
    batches = bucket(passages, batch_size=BATCH_SIZE, seed=0)
    if words.save_batches:
        save_batches(words.save_batches, passages, batches)
        return
    lines = [
        f"{words.dataset}: {len(passages.tokens)} passages, {passages.num_tokens} tokens, "
        f"{passages.num_tokens / padded_positions(passages, batches):.3f} of the positions in "
        f"bucketed batches, {passages.num_tokens / (len(passages.tokens) * MAX_LENGTH):.3f} of "
        f"those padded to {MAX_LENGTH}; {torch.get_num_threads()} threads, torch "
        f"{torch.__version__}.",
        "",
        "| contender | seconds | survey / contender | wanted |",
        "| --- | --- | --- | --- |",
    ]
    lines += interleaved(subject, sites, passages, batches, words.repeats)
    lines += layer_by_layer(subject, sites, passages, batches)
    lines += ["", "| | survey | floor |", "| --- | --- | --- |", *memory(words.dataset)]
    lines += ["", *linear(subject, sites, words.dataset)]
    text = "\n".join(lines)
    print(text)
    if words.keep:
        keep(text)


def interleaved(
    subject: Subject, sites: Sequence[Site], passages: Passages, batches: Batches, repeats: int
) -> list[str]:
    """Time survey, floor and backward in turn after every batch."""
    contenders: dict[str, Callable[[], Iterator[None]]] = {
        "survey": lambda: survey(subject, sites, passages, batches),
        "floor": lambda: floor(subject, sites, passages, batches),
        "backward": lambda: backward(subject, sites, passages, batches),
    }
    runs = in_turn(contenders, repeats)
    wanted = {"survey": "", "floor": "at most 1.10", "backward": "at most 0.75"}
    return [
        f"| {name} | {median(run[name] for run in runs):.2f} | "
        f"{median(run['survey'] / run[name] for run in runs):.3f} | {wanted[name]} |"
        for name in wanted
    ]


def in_turn(
    contenders: dict[str, Callable[[], Iterator[None]]], repeats: int
) -> list[dict[str, float]]:
    """Run contenders in turn after every batch; tell the seconds of each, round by round."""
    runs: list[dict[str, float]] = []
    names = list(contenders)
    for repeat in range(repeats + 1):
        order = names[repeat % len(names) :] + names[: repeat % len(names)]
        jobs = {name: contenders[name]() for name in order}
        seconds = dict.fromkeys(order, 0.0)
        while jobs:
            for name in list(jobs):
                start = time.perf_counter()
                finished = next(jobs[name], "finished") == "finished"
                seconds[name] += time.perf_counter() - start
                if finished:
                    del jobs[name]
        if repeat:  # the first round only warms up
            runs.append(seconds)
    return runs


def survey(
    subject: Subject, sites: Sequence[Site], passages: Passages, batches: Batches
) -> Iterator[None]:
    """All that `backlight layers` does between tokens and files."""
    state = Profile()
    for _ in profile(recorder_of(subject, sites), passages, batches, state, sites=sites):
        yield
    by_layer = site_results(state, sites)
    for result in by_layer.values():
        aggregate(result.moments.mean_abs).astype(np.float32)
    layer_table(by_layer, "gradients")
    dimension_table(by_layer, "gradients")
    histogram_table(by_layer, "gradients")
    top_token_table(by_layer, "gradients", passages, subject.tokenizer.decode)


def floor(
    subject: Subject, sites: Sequence[Site], passages: Passages, batches: Batches
) -> Iterator[None]:
    """A plain forward and the gradient of its loss at the MLP outputs, nothing else."""
    for members in batches:
        batch = Batch.of(passages, members).to(subject.device)
        outputs: list[Tensor] = []

        def keep(module: Any, inputs: Any, output: Tensor, seen: list[Tensor] = outputs) -> Tensor:
            output = output if output.requires_grad else output.detach().requires_grad_()
            seen.append(output)
            return output

        with hooked(subject, sites, [keep] * len(sites)):
            loss = plain_loss(subject, batch.input_ids, batch.valid)
        torch.autograd.grad(loss, outputs)
        yield


def backward(
    subject: Subject, sites: Sequence[Site], passages: Passages, batches: Batches
) -> Iterator[None]:
    """Hooks and `loss.backward()`, parameters as they come, batches padded to the full length."""
    for members in batches:
        input_ids, valid = padded(passages, members)
        gradients: dict[int, Tensor] = {}

        def watch(place: int, gradients: dict[int, Tensor] = gradients) -> Callable[..., None]:
            def hook(module: Any, inputs: Any, output: Tensor) -> None:
                output.register_hook(
                    lambda gradient: gradients.__setitem__(place, gradient.detach())
                )

            return hook

        subject.model.requires_grad_()
        with hooked(subject, sites, [watch(place) for place in range(len(sites))]):
            loss = plain_loss(subject, input_ids, valid)
        loss.backward()
        subject.model.requires_grad_(False)
        subject.model.zero_grad(set_to_none=True)
        assert len(gradients) == len(sites)
        yield


def one_layer_at_a_time(
    subject: Subject, sites: Sequence[Site], passages: Passages, batches: Batches
) -> Iterator[None]:
    """For each layer run a forward and a backward pass with that output as a leaf."""
    for members in batches:
        input_ids, valid = padded(passages, members)
        for site in sites:
            leaves: list[Tensor] = []

            def cut(
                module: Any, inputs: Any, output: Tensor, seen: list[Tensor] = leaves
            ) -> Tensor:
                seen.append(output.detach().clone().requires_grad_())
                return seen[0]

            with hooked(subject, [site], [cut]):
                loss = plain_loss(subject, input_ids, valid)
            torch.autograd.grad(loss, leaves)
        yield


def layer_by_layer(
    subject: Subject, sites: Sequence[Site], passages: Passages, batches: Batches
) -> list[str]:
    """Time one batch of the full length layer by layer, between two surveys of the same batch."""
    longest = max(batches, key=lambda members: sum(len(passages.tokens[m]) for m in members))
    seconds: dict[str, list[float]] = {"survey": [], "layer by layer": []}
    for name, job in (
        ("survey", survey),
        ("layer by layer", one_layer_at_a_time),
        ("survey", survey),
    ):
        start = time.perf_counter()
        for _ in job(subject, sites, passages, [longest]):
            pass
        seconds[name].append(time.perf_counter() - start)
    mine, theirs = median(seconds["survey"]), seconds["layer by layer"][0]
    return [
        f"| layer by layer, one batch | {theirs:.2f} | "
        f"{mine / theirs:.4f} (1 / {theirs / mine:.1f}) | at most 1 / 15 |"
    ]


def memory(dataset: str) -> list[str]:
    """Compare peak memory above the loaded model, each contender in its own process."""
    found = {job: alone(job, dataset, NUM_PASSAGES) for job in ("survey", "floor")}
    return [
        f"| {what} | {found['survey'][key]:.0f} MB | {found['floor'][key]:.0f} MB |"
        for what, key in (
            ("peak memory of the process", "peak"),
            ("of that above the loaded model", "above"),
        )
    ]


def linear(subject: Subject, sites: Sequence[Site], dataset: str) -> list[str]:
    """Compare time per token and memory of 64 and of four times as many passages."""
    passages = read_passages(subject, dataset, 4 * NUM_PASSAGES)
    quarter = Passages(tokens=sorted(passages.tokens, key=len)[::4])
    per_token: dict[int, list[float]] = {}
    for corpus in (quarter, passages, quarter, passages, quarter):
        batches = bucket(corpus, batch_size=BATCH_SIZE, seed=0)
        start = time.perf_counter()
        for _ in survey(subject, sites, corpus, batches):
            pass
        spent = (time.perf_counter() - start) / corpus.num_tokens
        per_token.setdefault(len(corpus.tokens), []).append(1000 * spent)
    small, large = (median(times) for times in per_token.values())
    peaks = [alone("survey", dataset, number)["peak"] for number in (64, 256)]
    return [
        f"From 64 to 256 passages: {small:.3f} to {large:.3f} ms per token "
        f"({100 * (large / small - 1):+.1f} %), peak memory {peaks[0]:.0f} to {peaks[1]:.0f} MB "
        f"({100 * (peaks[1] / peaks[0] - 1):+.1f} %)."
    ]


def run_alone(
    job: str, subject: Subject, sites: Sequence[Site], passages: Passages
) -> dict[str, float]:
    """Run one contender and report the peak of its memory, in megabytes."""
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of loading the model
    before = resident("VmRSS")
    contender = {"survey": survey, "floor": floor}[job]
    batches = bucket(passages, batch_size=BATCH_SIZE, seed=0)
    for _ in contender(subject, sites, passages, batches):
        pass
    return {"peak": resident("VmHWM"), "above": resident("VmHWM") - before}


def alone(job: str, dataset: str, passages: int) -> dict[str, float]:
    """Run one contender in a process of its own."""
    words = [sys.executable, __file__, "--job", job, "--dataset", dataset]
    words += ["--passages", str(passages)]
    output = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    return json.loads(output.splitlines()[-1])


def resident(field: str) -> float:
    """Read this process's memory in megabytes: VmRSS is now, VmHWM the peak."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise OSError(f"no {field} in /proc/self/status")


def read_passages(subject: Subject, dataset: str, number: int) -> Passages:
    """Take passages evenly from a whole corpus, so that their lengths are as uneven as its own."""
    rows = RowReader(dataset).first(1_000_000).rows
    step = len(rows) // number
    return tokenize(rows[::step][:number], subject.tokenizer, max_length=MAX_LENGTH)


def padded(passages: Passages, members: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Lay passages out as most scripts do: padded to the full length."""
    batch = Batch.of(passages, members)
    wide = MAX_LENGTH - batch.input_ids.shape[1]
    return (
        torch.nn.functional.pad(batch.input_ids, (0, wide)),
        torch.nn.functional.pad(batch.valid, (0, wide)),
    )


def padded_positions(passages: Passages, batches: Batches) -> int:
    """Count the positions that bucketed batches compute, pads included."""
    return sum(len(b) * max(len(passages.tokens[member]) for member in b) for b in batches)


def plain_loss(subject: Subject, input_ids: Tensor, valid: Tensor) -> Tensor:
    """The loss as Transformers gives it, pads masked."""
    labels = input_ids.masked_fill(~valid, -100)
    return subject.model(
        input_ids=input_ids, attention_mask=valid.long(), labels=labels, use_cache=False
    ).loss


@contextmanager
def hooked(
    subject: Subject, sites: Sequence[Site], hooks: Sequence[Callable[..., Any]]
) -> Iterator[None]:
    handles = [
        subject.model.get_submodule(site.tap.module).register_forward_hook(hook)
        for site, hook in zip(sites, hooks, strict=True)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def save_batches(path: Path, passages: Passages, batches: Batches) -> None:
    """Write the bucketed batches for contenders that run in another environment."""
    arrays: dict[str, Any] = {}
    for number, members in enumerate(batches):
        batch = Batch.of(passages, members)
        arrays[f"input_ids_{number}"] = batch.input_ids.numpy()
        arrays[f"lengths_{number}"] = batch.lengths.numpy()
    np.savez(path, **arrays)


def keep(text: str) -> None:
    """Put the result into the README beside this file."""
    before, _, rest = README.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    README.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="shakespeare")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--keep", action="store_true", help="write the result into README.md")
    parser.add_argument("--passages", type=int, default=NUM_PASSAGES)
    parser.add_argument("--job", choices=["survey", "floor"], help="run one contender alone")
    parser.add_argument("--save-batches", type=Path, help="write the batches and stop")
    return parser.parse_args()


if __name__ == "__main__":
    main()
