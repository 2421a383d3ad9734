"""What it costs to start: `backlight layers` beside importing torch and Transformers and loading.

    python benchmarks/startup.py [--repeats 10]

CPU seconds of whole processes (user and system), taken in turn, on a tiny model and two short rows;
and the seconds until `backlight --help` is there.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

BARE = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
AutoModelForCausalLM.from_pretrained(sys.argv[1])
AutoTokenizer.from_pretrained(sys.argv[1])
"""


def cpu_seconds(words: list[str]) -> float:
    """Run a process and return the CPU seconds that it and its children took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(words, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=10)
    repeats = parser.parse_args().repeats
    from zoo.folders import lines, save_causal

    with tempfile.TemporaryDirectory() as folder:
        model, text = Path(folder) / "llama", Path(folder) / "rows.txt"
        save_causal(model)
        text.write_text("\n".join(lines(2)) + "\n")
        jobs = {
            "bare": [sys.executable, "-c", BARE, str(model)],
            "layers": [
                *(sys.executable, "-m", "backlight", "layers", "--model_name", str(model)),
                *("--dataset", str(text), "--device", "cpu"),
            ],
        }
        taken: dict[str, list[float]] = {name: [] for name in jobs}
        helps: list[float] = []
        for _ in range(repeats):
            for name, words in jobs.items():
                taken[name].append(cpu_seconds(words))
            begun = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "backlight", "--help"], check=True, capture_output=True
            )
            helps.append(time.perf_counter() - begun)
    medians = {name: statistics.median(values) for name, values in taken.items()}
    print(f"bare    {medians['bare']:.2f} CPU s")
    print(
        f"layers  {medians['layers']:.2f} CPU s, {medians['layers'] / medians['bare']:.3f} of bare"
    )
    print(f"--help  {statistics.median(helps):.2f} s")


if __name__ == "__main__":
    main()
