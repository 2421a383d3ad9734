"""What the survey of `backlight flow` costs, against the bare floor of `layers.py`.

    python benchmarks/flow.py [--dataset shakespeare] [--repeats 5] [--passages 64] [--keep]

All contenders run in one process on the same 64 passages of SmolLM2 (at most 128 tokens, batches of
4), in turn after every batch, and ratios are medians over repeats: machines are noisy, ratios of
neighbours are not. All 30 layers are looked at.

- floor: a plain Transformers forward and `torch.autograd.grad` of its loss at the 30 MLP outputs,
  parameters frozen, nothing else.
- norms and residual: `backlight flow` with these two views, from tokens to tables.
- all views: the same with attention.

Peak memory is taken in a process of its own for each contender, on one passage of 2,048 tokens:

- flow: all views.
- floor: as above; it holds the logits, as Transformers does.
- eager: eager attention, and `torch.autograd.grad` of the loss at the scores and weights of every
  layer: the same gradients as tensors.
- eager, released: the same, but each gradient is summed and let go as soon as it is there.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from layers import (
    BATCH_SIZE,
    NUM_PASSAGES,
    README,
    floor,
    in_turn,
    read_passages,
    resident,
)
from torch import Tensor
from torch.autograd.graph import get_gradient_edge

from backlight.data.batches import Batch, Passages, bucket
from backlight.data.corpora import RowReader
from backlight.models.loading import load_subject
from backlight.models.sites import resolve_sites
from backlight.models.subject import Subject
from backlight.objectives.objective import NextToken
from backlight.surveys.flow.measure.survey import VIEWS, Flow, ViewName, survey_flow
from backlight.surveys.flow.tables import flow_tables

LONG = 2048
BEGIN, END = "<!-- flow: begin -->", "<!-- flow: end -->"

Batches = Sequence[tuple[int, ...]]


def main() -> None:
    words = _arguments()
    if words.job:
        print(json.dumps(run_alone(words)))
        return
    subject = load_subject("smollm2", device="cpu")
    subject.model.requires_grad_(requires_grad=False)  # for the bare floors
    passages = read_passages(subject, words.dataset, words.passages)
    batches = bucket(passages, batch_size=BATCH_SIZE, seed=0)
    lines = [
        f"{words.dataset}: {len(passages.tokens)} passages, {passages.num_tokens} tokens; "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}.",
        "",
        "| contender | seconds | contender / floor | wanted |",
        "| --- | --- | --- | --- |",
        *interleaved(subject, passages, batches, words.repeats),
        "",
        f"One passage of {words.length} tokens, peak memory:",
        "",
        "| contender | of the process | above the loaded model | flow / contender | wanted |",
        "| --- | --- | --- | --- | --- |",
        *memory(words),
    ]
    text = "\n".join(lines)
    print(text)
    if words.keep:
        before, _, rest = README.read_text().partition(BEGIN)
        README.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")


def interleaved(subject: Subject, passages: Passages, batches: Batches, repeats: int) -> list[str]:
    """Time floor and surveys in turn after every batch."""
    sites = resolve_sites("mlp.out", subject.sites)
    contenders: dict[str, Callable[[], Iterator[None]]] = {
        "floor": lambda: floor(subject, sites, passages, batches),
        "norms and residual": lambda: flow(subject, passages, batches, ["norms", "residual"]),
        "all views": lambda: flow(subject, passages, batches, list(VIEWS)),
    }
    runs = in_turn(contenders, repeats)
    wanted = {"floor": "", "norms and residual": "at most 1.20", "all views": "at most 1.8"}
    return [
        f"| {name} | {median(run[name] for run in runs):.2f} | "
        f"{median(run[name] / run['floor'] for run in runs):.3f} | {wanted[name]} |"
        for name in wanted
    ]


def flow(
    subject: Subject, passages: Passages, batches: Batches, names: Sequence[ViewName]
) -> Iterator[None]:
    """All that `backlight flow` does between tokens and files."""
    layers = tuple(range(subject.num_layers))
    state = Flow({name: VIEWS[name](subject, layers) for name in names})
    for _ in survey_flow(subject, passages, batches, state):
        yield
    flow_tables(state)


def eager(subject: Subject, passages: Passages, *, released: bool) -> None:
    """Gradients at scores and weights of every layer, by autograd."""
    batch = Batch.of(passages, (0,))
    embedded = subject.model.get_input_embeddings()(batch.input_ids).requires_grad_()
    with watched_softmax(released=released) as seen:
        hidden = subject.model.model(inputs_embeds=embedded, use_cache=False)[0]
    assert len(seen) == 2 * subject.num_layers
    loss = NextToken()(hidden, batch, subject.head)  # fused, so that no logits are held
    if released:
        torch.autograd.grad(hidden, embedded, grad_outputs=loss.gradient)
    else:
        gradients = torch.autograd.grad(hidden, seen, grad_outputs=loss.gradient)
        [gradient.square().sum(dim=(0, 2, 3)) for gradient in gradients]


@contextmanager
def watched_softmax(*, released: bool) -> Iterator[list[Any]]:
    """Collect what enters and leaves the softmax of eager attention, or sum its gradients."""
    plain, seen = torch.nn.functional.softmax, list[Any]()

    def watch(tensor: Tensor) -> None:
        if released:
            tensor.register_hook(lambda gradient: seen.append(gradient.square().sum((0, 2, 3))))
            seen.append(None)
        else:
            seen.append(get_gradient_edge(tensor))  # the scores themselves may go

    def softmax(scores: Tensor, *args: Any, **options: Any) -> Tensor:
        watch(scores)
        weights = plain(scores, *args, **options)
        watch(weights)
        return weights

    torch.nn.functional.softmax = softmax
    try:
        yield seen
    finally:
        torch.nn.functional.softmax = plain


def memory(words: argparse.Namespace) -> list[str]:
    """Compare peak memory, each contender in its own process."""
    found = {name: alone(name, words) for name in JOBS}
    wanted = {"eager": "at most 0.25"}
    return [
        f"| {name} | {peak['peak']:.0f} MB | {peak['above']:.0f} MB | "
        f"{found['flow']['above'] / peak['above']:.3f} | {wanted.get(name, '')} |"
        for name, peak in found.items()
    ]


def run_alone(words: argparse.Namespace) -> dict[str, float]:
    """Run one contender and report the peak of its memory, in megabytes."""
    kernel = "eager" if words.job.startswith("eager") else None
    subject = load_subject("smollm2", device="cpu", attn_implementation=kernel)
    subject.model.requires_grad_(requires_grad=False)  # for the bare floors
    passages = long_passage(subject, words)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of loading the model
    before = resident("VmRSS")
    JOBS[words.job](subject, passages)
    return {"peak": resident("VmHWM"), "above": resident("VmHWM") - before}


def alone(job: str, words: argparse.Namespace) -> dict[str, float]:
    """Run one contender in a process of its own."""
    command = [sys.executable, __file__, "--job", job, "--dataset", words.dataset]
    command += ["--length", str(words.length)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output.splitlines()[-1])


def long_passage(subject: Subject, words: argparse.Namespace) -> Passages:
    """Take the corpus's first tokens, over as many of its rows as it needs."""
    text = "\n".join(RowReader(words.dataset).first(1_000))
    ids = subject.tokenizer(text, truncation=True, max_length=words.length)["input_ids"]
    assert len(ids) == words.length, "the corpus has too few tokens"
    return Passages(tokens=[np.asarray(ids, dtype=np.int64)])


def all_views(subject: Subject, passages: Passages) -> None:
    for _ in flow(subject, passages, [(0,)], list(VIEWS)):
        pass


def bare(subject: Subject, passages: Passages) -> None:
    for _ in floor(subject, resolve_sites("mlp.out", subject.sites), passages, [(0,)]):
        pass


JOBS: dict[str, Callable[[Subject, Passages], None]] = {
    "flow": all_views,
    "floor": bare,
    "eager": partial(eager, released=False),
    "eager, released": partial(eager, released=True),
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="shakespeare")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--passages", type=int, default=NUM_PASSAGES)
    parser.add_argument("--length", type=int, default=LONG, help="of the passage for memory")
    parser.add_argument("--keep", action="store_true", help="write the result into README.md")
    parser.add_argument("--job", choices=list(JOBS), help="run one contender alone")
    return parser.parse_args()


if __name__ == "__main__":
    main()
