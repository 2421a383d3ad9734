"""What `backlight.watch` costs, against the same training without it.

    python benchmarks/watch.py [--model local|smollm2] [--repeats 5] [--tokens 2048]

All contenders run in one process, each on its own copy of the model, one optimizer step each in
turn, and ratios are medians over repeats of a contender's time over that of the plain step next to
it: machines are noisy, ratios of neighbours are not. An optimizer step is a forward and a backward
pass over 2,048 tokens, clipping, and AdamW.

- plain: the loop alone.
- every 10, every 1: `backlight.watch` into a run directory. For "every 10", nine steps that are
  not measured and one that is are timed and their mean is taken, as in a run.
- wandb: `wandb.watch(model, log="gradients", log_freq=10)`, and every step; if it is installed.
- lightning: `lightning.pytorch.utilities.grad_norm` at every step, its 2-norms read as numbers; if
  it is installed.
"""

import argparse
import copy
import importlib.util
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from backlight.learning_rules import LocalGPT, LocalGPTConfig
from backlight.training import watch

WANTED = {"watch, every 10": 1.02, "watch, every 1": 1.10}
PERIOD = 10


class Loop:
    """A training that is done step by step."""

    def __init__(self, model: nn.Module, call: Callable[[nn.Module], Any]) -> None:
        self.model = model
        self.optimizer = torch.optim.AdamW(model.parameters(), 1e-5)
        self.call = call

    def step(self) -> float:
        begun = time.perf_counter()
        self.call(self.model).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return time.perf_counter() - begun


def main() -> None:
    words = _arguments()
    model, call = MODELS[words.model](words.tokens)
    print(
        f"{words.model}: {sum(p.numel() for p in model.parameters()):,} parameters, {words.tokens} "
        f"tokens per step; {torch.get_num_threads()} threads, torch {torch.__version__}."
    )
    print("\n| contender | time / plain | wanted |\n| --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for name, attach in contenders().items():
            ratios = compare(model, call, attach, Path(folder) / name, words.repeats)
            print(f"| {name} | {median(ratios):.3f} | {WANTED.get(name, '')} |", flush=True)


def compare(
    model: nn.Module,
    call: Callable[[nn.Module], Any],
    attach: Callable[[Loop, Path], Any],
    folder: Path,
    repeats: int,
) -> list[float]:
    """Time a watched and a plain copy of the model in turn."""
    plain, watched = Loop(copy.deepcopy(model), call), Loop(model, call)
    ratios: list[float] = []
    with attach(watched, folder):
        for loop in (plain, watched):
            loop.step()  # memory is claimed, moments are made
        for repeat in range(repeats):
            times = [0.0, 0.0]
            for number in range(PERIOD):
                order = (0, 1) if (repeat + number) % 2 else (1, 0)
                for which in order:
                    times[which] += (plain, watched)[which].step()
            ratios.append(times[1] / times[0])
    return ratios


def contenders() -> dict[str, Callable[[Loop, Path], Any]]:
    found: dict[str, Callable[[Loop, Path], Any]] = {
        "plain": _nothing,
        "watch, every 10": lambda loop, folder: closing(_watch(loop, folder, 10)),
        "watch, every 1": lambda loop, folder: closing(_watch(loop, folder, 1)),
    }
    if importlib.util.find_spec("wandb"):
        for number in (10, 1):
            found[f"wandb.watch, every {number}"] = _wandb(number)
    if importlib.util.find_spec("lightning"):
        found["lightning grad_norm, every 1"] = _lightning
    return found


def _nothing(loop: Loop, folder: Path) -> ExitStack:
    return ExitStack()


def _watch(loop: Loop, folder: Path, number: int) -> Any:
    return watch(loop.model, loop.optimizer, folder, schedule=number, status=False)


def _wandb(number: int) -> Callable[[Loop, Path], Any]:
    @contextmanager
    def attach(loop: Loop, folder: Path) -> Iterator[None]:
        import wandb

        os.environ["WANDB_SILENT"] = "true"
        folder.mkdir()
        run = wandb.init(project="watch", mode="offline", dir=str(folder))
        run.watch(loop.model, log="gradients", log_freq=number)
        step = loop.step

        def logged() -> float:
            begun = time.perf_counter()
            step()
            run.log({"step": 1})
            return time.perf_counter() - begun

        loop.step = logged
        yield
        run.unwatch(loop.model)
        run.finish()

    return attach


@contextmanager
def _lightning(loop: Loop, folder: Path) -> Iterator[None]:
    from lightning.pytorch.utilities import grad_norm

    def norms(optimizer: Any, arguments: Any, keywords: Any) -> None:
        {name: float(norm) for name, norm in grad_norm(loop.model, norm_type=2).items()}

    with ExitStack() as stack:
        stack.callback(loop.optimizer.register_step_pre_hook(norms).remove)
        yield


def local(tokens: int) -> tuple[nn.Module, Callable[[nn.Module], Any]]:
    config = LocalGPTConfig()
    model = LocalGPT(config)
    rows = torch.randint(0, config.vocab_size, (tokens // config.block_size, config.block_size))
    return model, lambda model: model(rows, rows)[1]


def smollm2(tokens: int) -> tuple[nn.Module, Callable[[nn.Module], Any]]:
    import backlight

    model = backlight.load_subject("smollm2", device="cpu").model.requires_grad_(True).train()
    rows = torch.randint(0, 40_000, (8, tokens // 8))
    return model, lambda model: model(input_ids=rows, labels=rows, use_cache=False).loss


MODELS = {"local": local, "smollm2": smollm2}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=list(MODELS), default="local")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=2048)
    return parser.parse_args()


if __name__ == "__main__":
    main()
