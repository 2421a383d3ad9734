"""What a training step costs under each learning rule and norm backward, against backpropagation.

    python benchmarks/rules.py [--repeats 30]

One network of nanoGPT's small CPU setting (4 blocks, 4 heads, width 128, 32 sequences of 64
characters) for each contender, all in one process; each makes one step of AdamW in turn, and ratios
are medians over rounds of a step's time over that of backpropagation in the same round.
"""

import argparse
import time
from statistics import median

import torch

from backlight.data.characters import characters_of, draw_batch, shipped_text
from backlight.learning_rules import LocalGPT, LocalGPTConfig

CONTENDERS = {
    "bp": {},
    "fa": {"method": "fa"},
    "sign_uniform": {"method": "sign_uniform"},
    "sign_random": {"method": "sign_random"},
    "dfa, macro": {"method": "dfa"},
    "dfa, micro": {"method": "dfa", "dfa_points": "micro"},
    "bp, center_scale": {"norm_backward": "center_scale"},
    "bp, projected": {"norm_backward": "projected"},
    "fa, center_scale": {"method": "fa", "norm_backward": "center_scale"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=30)
    repeats = parser.parse_args().repeats
    text = characters_of(shipped_text())
    steps = {
        f"{name} ({attention})": Step(text, attn_mode=attention, **options)
        for attention in ("softmax", "sigmoid")
        for name, options in CONTENDERS.items()
    }
    seconds = {name: [] for name in steps}
    for number in range(repeats + 2):
        for name, step in steps.items():
            taken = step()
            if number >= 2:  # the first draw matrices and warm up
                seconds[name].append(taken)
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, {repeats} rounds.\n")
    print("| step | milliseconds | step / bp | wanted |\n| --- | --- | --- | --- |")
    for name, own in seconds.items():
        base = seconds[f"bp ({name.rpartition('(')[2]}"]
        ratio = median(a / b for a, b in zip(own, base, strict=True))
        wanted = "at most 1.15" if name.startswith("fa (") else ""
        print(f"| {name} | {1000 * median(own):.1f} | {ratio:.3f} | {wanted} |")


class Step:
    def __init__(self, text, **options):
        torch.manual_seed(0)
        self.text = text
        self.model = LocalGPT(LocalGPTConfig(vocab_size=len(text.vocabulary), **options))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3)

    def __call__(self):
        x, y = draw_batch(self.text.train, block_size=64, batch_size=32)
        begun = time.perf_counter()
        _, loss = self.model(x, y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return time.perf_counter() - begun


if __name__ == "__main__":
    main()
