"""What the doctor says of planted faults and of healthy trainings: the tables of docs/doctor.md.

    python benchmarks/doctor.py [--seeds 1,2,3] [--only NAME]

A fault counts as recognised if the first finding (errors before warnings, roots only) names the
right module (or one inside of it) and a step no later than the fault can first be seen; for faults
that no step of its own shows, within the delay that tests/zoo/faults.py grants them.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from backlight.training.doctor.diagnosis import diagnose
from backlight.training.doctor.findings import Diagnosis
from zoo.faults import FAULTS, Planted
from zoo.healthy import HEALTHY
from zoo.other_trainings import OTHERS, Loop
from zoo.small_training import Training

VERDICTS = ("healthy", "vanishing", "exploding", "unstable", "non-finite", "dead")


def main() -> None:
    words = _arguments()
    torch.set_num_threads(1)
    seeds = [int(seed) for seed in words.seeds.split(",")]
    if words.part in ("all", "faults"):
        faults = {name: make for name, make in FAULTS.items() if words.only in name}
        show(*confusion(faults, seeds))
    if words.part in ("all", "healthy"):
        kinds = {**HEALTHY, **OTHERS}
        healthy = {name: make for name, make in kinds.items() if words.only in name}
        show(*silence(healthy, seeds))


def confusion(
    faults: dict[str, Callable[[int], Planted]], seeds: Sequence[int]
) -> tuple[list[str], list[str]]:
    """Train into each fault with each seed, and count verdicts, right modules and right steps."""
    rows, wrong = [], []
    for name, make in faults.items():
        verdicts, symptoms, modules, steps = Counter(), Counter(), 0, 0
        for seed in seeds:
            planted, started = make(seed), time.perf_counter()
            diagnosis = diagnose(planted.training.watched())
            verdicts[told_verdict(diagnosis)] += 1
            first = diagnosis.findings[0] if diagnosis.findings else None
            symptoms[first.symptom if first else "nothing"] += 1
            module = first is not None and planted.finds_module(first.place.module)
            step = first is not None and planted.finds_step(first.since_step)
            modules, steps = modules + module, steps + step
            note = f"{name}, seed {seed}, {time.perf_counter() - started:.1f} s: {diagnosis}"
            if not (module and step):
                wrong.append(f"{note} [planted in {planted.module!r} at step {planted.step}]")
            print(note, file=sys.stderr, flush=True)
        told = ", ".join(f"`{symptom}`" for symptom, _ in symptoms.most_common())
        counts = " | ".join(str(verdicts[verdict] or "") for verdict in VERDICTS)
        rows.append(
            f"| {name.replace('_', ' ')} | {counts} | {told} | {modules}/{len(seeds)} | "
            f"{steps}/{len(seeds)} |"
        )
    head = f"| planted | {' | '.join(VERDICTS)} | first finding | module | step |"
    return [head, "| --- " * (len(VERDICTS) + 4) + "|", *rows], ["", *wrong]


def silence(
    healthy: dict[str, Callable[[int], Training | Loop]], seeds: Sequence[int]
) -> tuple[list[str], list[str]]:
    """Train without any fault with each seed, and list what was found all the same.

    Losses are given for the kinds whose oddity is often the loss: all but language models.
    """
    head = (
        "| healthy training | losses at the start and the end | verdict healthy | silent | told |"
    )
    rows, found = [head, "| --- " * 5 + "|"], []
    for name, make in healthy.items():
        fine, silent, losses, told = 0, 0, [], set[str]()
        for seed in seeds:
            history = make(seed).watched()
            diagnosis = diagnose(history)
            fine, silent = fine + diagnosis.is_healthy, silent + (not diagnosis.findings)
            told |= {each.title for each in diagnosis.findings}
            if name in OTHERS and len(history.losses):
                losses.append(
                    f"{history.losses[:3].mean():.3g} to {history.losses[-5:].mean():.3g}"
                )
            if diagnosis.findings:
                evidence = diagnosis.findings[0].evidence
                found.append(f"{name}, seed {seed}: {diagnosis}. {evidence}")
            print(f"{name}, seed {seed}: {diagnosis}", file=sys.stderr, flush=True)
        counts = f"{fine}/{len(seeds)} | {silent}/{len(seeds)}"
        rows.append(f"| {name} | {', '.join(losses)} | {counts} | {'; '.join(sorted(told))} |")
    return rows, ["", *found]


def told_verdict(diagnosis: Diagnosis) -> str:
    """Return the verdict of the first finding, which may be a warning."""
    return diagnosis.findings[0].verdict if diagnosis.findings else "healthy"


def show(*parts: Iterable[str]) -> None:
    for lines in parts:
        print("\n".join(lines))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--only", default="", help="faults whose name has this in it")
    parser.add_argument("--part", default="all", choices=("all", "faults", "healthy"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
