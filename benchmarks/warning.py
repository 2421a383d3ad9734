"""What the warning index costs in `layers` and in `flow`: the same surveys with and without it.

    python benchmarks/warning.py [--dataset shakespeare] [--repeats 5] [--passages 64]

Contenders run in one process on the same passages of SmolLM2 (at most 128 tokens, batches of 4), in
turn after every batch, and ratios are medians over repeats. All 30 layers are looked at; `layers`
at MLP outputs, `flow` in the views that have units (attention's heads, and both branches of each
block). Wanted: at most 1.02.
"""

import argparse
from collections.abc import Iterator, Sequence
from statistics import median
from unittest import mock

import torch
from layers import BATCH_SIZE, Batches, in_turn, read_passages

from backlight.data.batches import Passages, bucket
from backlight.models.loading import load_subject
from backlight.models.sites import Site, resolve_sites
from backlight.models.subject import Subject
from backlight.surveys.driver.relative import ways_of
from backlight.surveys.flow.measure.attention import AttentionView
from backlight.surveys.flow.measure.halves import Half
from backlight.surveys.flow.measure.residual import ResidualView
from backlight.surveys.flow.measure.survey import Flow, survey_flow
from backlight.surveys.layers.measure.profile import Profile, profile, recorder_of

NOTHING = torch.ones((), dtype=torch.float64), torch.ones((), dtype=torch.float64)


def main() -> None:
    words = _arguments()
    subject = load_subject("smollm2", device="cpu")
    passages = read_passages(subject, words.dataset, words.passages)
    batches = bucket(passages, batch_size=BATCH_SIZE, seed=0)
    sites = resolve_sites("mlp.out", subject.sites)
    runs = in_turn(
        {
            "layers": lambda: layers(subject, sites, passages, batches, warns=True),
            "layers, without": lambda: layers(subject, sites, passages, batches, warns=False),
            "flow": lambda: flow(subject, passages, batches, warns=True),
            "flow, without": lambda: flow(subject, passages, batches, warns=False),
        },
        words.repeats,
    )
    print("| survey | seconds | with / without | least | most |\n| --- | --- | --- | --- | --- |")
    for name in ("layers", "flow"):
        ratios = [run[name] / run[f"{name}, without"] for run in runs]
        seconds = median(run[name] for run in runs)
        spread = f"{min(ratios):.3f} | {max(ratios):.3f}"
        print(f"| {name} | {seconds:.2f} | {median(ratios):.3f} | {spread} |")


def layers(
    subject: Subject, sites: Sequence[Site], passages: Passages, batches: Batches, *, warns: bool
) -> Iterator[None]:
    """The survey of `backlight layers`, as it is and without the index."""
    ways = ways_of(subject, sites)[0] if warns else {}
    recorder, state = recorder_of(subject, sites, ways=ways), Profile(ways=ways)
    for _ in profile(recorder, passages, batches, state, sites=sites):
        yield


def flow(subject: Subject, passages: Passages, batches: Batches, *, warns: bool) -> Iterator[None]:
    """The survey of `backlight flow`, as it is and without the index."""
    depths = range(subject.num_layers)
    attention, residual = AttentionView(subject, depths), ResidualView(subject, depths)
    if not warns:
        attention.warnings, attention.kept, attention.norms = {}, set(), []
        terms = {site.name for half in residual.halves for site in half.terms}
        residual.sites = [site for site in residual.sites if site.name not in terms]
        residual.kept, residual.norms = set(residual.kept) - terms, []
    steps = survey_flow(
        subject, passages, batches, Flow({"attention": attention, "residual": residual})
    )
    while True:
        if warns:
            done = next(steps, None) is None
        else:
            with mock.patch.object(Half, "removed", return_value=NOTHING):
                done = next(steps, None) is None
        if done:
            return
        yield


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="shakespeare")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--passages", type=int, default=64)
    return parser.parse_args()


if __name__ == "__main__":
    main()
